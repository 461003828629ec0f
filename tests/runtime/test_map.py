"""Task maps: layouts of known geometries, and plots as files."""

from __future__ import annotations

import functools
import io
from xml.etree import ElementTree

import numpy as np
import pytest
from commands import Here
from hypothesis import given, settings
from hypothesis import strategies as st
from leepfrog.plots.task_map import draw_task_map
from leepfrog.task2vec.embedding import EmbeddedLayer, Embedding
from leepfrog.task2vec.layout import lay_out
from leepfrog.task2vec.library import Library
from PIL import Image
from scipy.spatial.distance import pdist, squareform

pytestmark = pytest.mark.full


@settings(max_examples=20, deadline=None)
@given(n=st.integers(3, 70), seed=st.integers(0, 1000))
def test_points_of_a_plane_are_found_again(n: int, seed: int) -> None:
    """Points are recovered up to rotation and reflection, so all distances are preserved."""
    given_places = np.random.default_rng(seed).random((n, 2))
    distances = squareform(pdist(given_places))
    layout = lay_out(distances)
    np.testing.assert_allclose(squareform(pdist(layout.places)), distances, atol=1e-4)
    assert layout.faithfulness > 0.999
    assert sorted(layout.order) == list(range(n))


def test_clusters_are_found_and_stand_together() -> None:
    rng = np.random.default_rng(0)
    kinds = rng.permutation(np.repeat([0, 1, 2], 20))
    places = np.array([[0, 0], [10, 0], [0, 10]])[kinds] + rng.standard_normal((60, 2))
    layout = lay_out(squareform(pdist(places)))
    assert {tuple(np.unique(layout.clusters[kinds == kind])) for kind in range(3)} == {(0,), (1,), (2,)}
    assert list(layout.clusters[layout.order]) == sorted(layout.clusters)


@pytest.mark.parametrize("n", [2, 3, 80])
def test_equal_tasks(n: int) -> None:
    layout = lay_out(np.zeros((n, n)))
    assert np.isfinite(layout.places).all()
    assert not layout.clusters.any()
    assert draw_task_map("all alike", ["x"] * n, np.zeros((n, n)), np.zeros(n), layout, ".png")


def test_a_page_escapes_names_and_says_them_to_a_pointer() -> None:
    names = ["<script>alert(1)</script>", "a & b", "$x^", "long " * 20]
    distances = squareform(np.arange(1.0, 7))
    page = draw_task_map("title", names, distances, np.full(4, 0.1), lay_out(distances), ".html").decode()
    assert "<script>" not in page
    assert "<title>a &amp; b</title>" in page
    assert "$x^" in page
    assert "http-equiv" not in page
    assert "src=" not in page
    drawn = draw_task_map("title", names, distances, np.full(4, 0.1), lay_out(distances), ".svg")
    assert ElementTree.fromstring(drawn).tag.endswith("svg")  # noqa: S314 -- our own output
    again = draw_task_map("title", names, distances, np.full(4, 0.1), lay_out(distances), ".svg")
    assert drawn == again


def test_the_command_line(here: Here) -> None:
    run = functools.partial(here.call, "map")
    layers, rng = (EmbeddedLayer("w", "conv", 30),), np.random.default_rng(0)
    library = Library(here.folder / "library")
    for i in range(5):
        vector = rng.random(30)
        library.add(Embedding(f"task {i}", "f" * 64, layers, vector, 0.1 * vector))
        if i == 0:
            assert (run("library", "-o", "map.png").code, len(list(here.folder.glob("map*")))) == (2, 0)
    done = run("library", "-o", "map.png")
    assert (done.code, done.err) == (0, "wrote map.png: 5 tasks\n")
    assert Image.open(io.BytesIO((here.folder / "map.png").read_bytes())).size == (2250, 1050)
    run("library", "-o", "map.pdf").check(2, ".html, .png, .svg")
    run("nowhere", "-o", "map.svg").check(2)
