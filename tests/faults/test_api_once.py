"""Idioms that were duplicated across modules now have one function each (fault 50)."""

from __future__ import annotations

import re
from pathlib import Path

import leepfrog
import leepfrog_exporter
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from leepfrog.draws import members_of, shuffled
from leepfrog.errors import one_line

PACKAGES = [Path(str(package.__file__)).parent for package in (leepfrog, leepfrog_exporter)]
SOURCES = [path for package in PACKAGES for path in package.rglob("*.py")]


@pytest.mark.parametrize(
    ("pattern", "home"),
    [
        (r"join\(str\(\w+\)\.split\(\)\)", "errors.py"),
        (r"flatnonzero\([\w.]+ == \w+\) for|permutation\((positions|members)", "draws.py"),
    ],
)
def test_fault_50_an_idiom_has_one_home(pattern: str, home: str) -> None:
    assert {path.name for path in SOURCES if re.search(pattern, path.read_text())} == {home}


@given(labels=st.lists(st.integers(0, 6), min_size=1, max_size=40), more=st.integers(0, 3), seed=st.integers(0, 99))
def test_fault_50_images_are_drawn_class_by_class(labels: list[int], more: int, seed: int) -> None:
    array = np.array(labels, np.int64)
    classes = max(labels) + 1 + more
    members = members_of(array, classes)
    assert [ids.tolist() for ids in members] == [[i for i, y in enumerate(labels) if y == c] for c in range(classes)]
    assert [ids.tolist() for ids in members_of(array)] == [ids.tolist() for ids in members[: max(labels) + 1]]
    rng, other = np.random.default_rng(seed), np.random.default_rng(seed)
    for ids, drawn in zip(members, shuffled(members, rng), strict=True):
        assert drawn.tolist() == other.permutation(ids).tolist()
        assert rng.uniform() == other.uniform()  # interleaved draws from the same generator are allowed


def test_fault_50_every_image_is_as_likely_to_be_drawn() -> None:
    rng, members = np.random.default_rng(0), members_of(np.repeat([0, 1], [3, 5]))
    firsts = np.array([[ids[0] for ids in shuffled(members, rng)] for _ in range(4000)])
    for column, n in zip(firsts.T, (3, 5), strict=True):
        counts = np.bincount(column - column.min())
        assert len(counts) == n
        assert np.abs(counts / 4000 - 1 / n).max() < 0.04  # five standard errors


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("a\n  b\tc"), "a b c"),
        (KeyError(), "KeyError"),
        (RuntimeError("[ONNXRuntimeError] : 1 : FAIL : no\nkernel"), "no kernel"),
        (ValueError("x" * 400), "x" * 300 + " ..."),
    ],
)
def test_fault_50_errors_in_one_line(error: Exception, text: str) -> None:
    assert one_line(error) == text
    assert len(one_line(ValueError("x" * 400), None)) == 400
