"""`leepfrog explain`: class terms add up to leave-one-out LEEP, and explanations name plausible classes."""

from __future__ import annotations

import json
from pathlib import Path

import leepfrog
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from leepfrog.cli.explain import render
from leepfrog.cli.formats import Format
from leepfrog.cli.result_options import ResultOptions
from leepfrog.errors import UsageError
from leepfrog.images.dataset import ArrayImage, ImageSet
from leepfrog.ranking.explain import _classes, _Used, held_out_predictions
from leepfrog.scoring.sample import ProbSample
from leepfrog.scoring.scores.leep_loo import score_leep_loo
from photos import folder_of_pieces

PIXEL = np.zeros((1, 1, 3), np.uint8)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(6, 30))
def test_predictions_are_held_out(seed: int, n: int) -> None:
    """Compare with LEEP's conditional distribution recomputed without each image."""
    rng = np.random.default_rng(seed)
    labels = np.r_[0, 1, 2, rng.integers(0, 3, n - 3)]
    probs = rng.dirichlet(np.full(5, 0.3), n)
    sample = ProbSample.of(labels, probs)
    found = held_out_predictions(sample, sample.one_hot.T @ probs)
    for i in range(n):
        rest = np.arange(n) != i
        joint = np.array([probs[rest & (labels == y)].sum(axis=0) for y in range(3)])
        expected = (joint / joint.sum(axis=0)) @ probs[i]
        np.testing.assert_allclose(found[i], expected, atol=1e-9)


def test_classes_add_up() -> None:
    rng = np.random.default_rng(1)
    labels = np.arange(60) % 4
    probs = rng.dirichlet(np.full(6, 0.2), 60)
    probs[:, 0] += labels == 0  # source class 0 indicates class 0
    sample = ProbSample.of(labels, probs / probs.sum(axis=1, keepdims=True))
    images = ImageSet("arrays", tuple("abcd"), [ArrayImage(f"image {i}", PIXEL) for i in range(60)], labels)
    digests = [bytes([i]) for i in range(60)]
    digests[48:] = digests[:12]  # 3 of the 15 images per class are duplicates
    used = _Used(images, np.arange(60), digests)
    classes = _classes(sample, list("abcd"), ("tench",), 5, used)
    total = sum(each.n_images * each.leep_loo for each in classes) / 60
    assert total == pytest.approx(score_leep_loo(sample).value, abs=1e-9)
    first = classes[0]
    assert first.name == "a"
    assert first.carriers[0].name == "tench"
    assert first.carriers[0].share > 0.5
    assert [way.name for way in first.carriers[1:]] == [f"source class {way.index}" for way in first.carriers[1:]]
    assert sum(other.probability for other in first.confusions) + first.probability == pytest.approx(1, abs=1e-6)
    predictions = held_out_predictions(sample, sample.one_hot.T @ sample.probs)
    for label, each in enumerate(sorted(classes, key=lambda each: each.name)):
        terms = {i: np.log(predictions[i, label]) for i in np.flatnonzero(labels == label)}
        shown = (*each.typical, *each.hard)
        assert len({digests[example.position] for example in shown}) == 4
        assert [example.term for example in shown] == pytest.approx([terms[example.position] for example in shown])
        assert max(terms.values()) == pytest.approx(each.typical[0].term)
        assert min(terms.values()) == pytest.approx(each.hard[0].term)
        assert all(e.taken_for == "abcd"[predictions[e.position].argmax()] for e in shown)


@pytest.mark.parametrize(("n", "typical", "hard"), [(1, 1, 0), (2, 1, 1), (3, 2, 1), (4, 2, 2)])
def test_no_image_is_typical_and_hard(n: int, typical: int, hard: int) -> None:
    rng = np.random.default_rng(2)
    labels = np.array([0] * n + [1] * 5)
    images = ImageSet("arrays", ("a", "b"), [ArrayImage(f"image {i}", PIXEL) for i in range(n + 5)], labels)
    sample = ProbSample.of(labels, rng.dirichlet(np.full(4, 0.5), n + 5))
    used = _Used(images, np.arange(n + 5), [bytes([i]) for i in range(n + 5)])
    (found,) = (each for each in _classes(sample, ["a", "b"], (), 1, used) if each.name == "a")
    assert (len(found.typical), len(found.hard)) == (typical, hard)
    assert len({example.name for example in (*found.typical, *found.hard)}) == typical + hard


def test_a_real_model(zoo_home: Path, tmp_path: Path) -> None:
    folder = folder_of_pieces(tmp_path / "photos", count=6)
    found = leepfrog.explain(folder, "mobilenet_v2", top=2)
    ranking = leepfrog.rank(folder, ["mobilenet_v2"])
    assert found.leep_loo == pytest.approx(ranking.models[0].scores["leep_loo"].value, abs=1e-12)
    assert {each.name for each in found.classes} == set(ranking.classes)
    assert [each.leep_loo for each in found.classes] == sorted(each.leep_loo for each in found.classes)
    cat = next(each for each in found.classes if each.name == "cat")
    assert any(word in cat.carriers[0].name for word in ("cat", "tabby", "lynx"))
    text = render(found, ResultOptions(Format.table))
    assert cat.carriers[0].name in text
    assert json.loads(render(found, ResultOptions(Format.json)))["classes"][0]["typical"][0]["position"] >= 0
    for each in found.classes:
        assert {Path(example.name).parent.name for example in (*each.typical, *each.hard)} == {each.name}
    with pytest.raises(UsageError, match="matches 2: "):
        leepfrog.explain(folder, "efficientnet_lite[01]")
    with pytest.raises(UsageError, match="top"):
        leepfrog.explain(folder, "mobilenet_v2", top=0)
