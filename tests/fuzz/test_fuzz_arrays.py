"""`leepfrog score` on arbitrary arrays and damaged files: finite scores or an ArrayError."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tally
from hypothesis import given
from hypothesis import strategies as st
from leepfrog.errors import ArrayError
from leepfrog.ranking.score_files import load_array, score_files
from leepfrog.scoring.registry import SCORES
from mutations import damage
from numpy.typing import NDArray

pytestmark = pytest.mark.full

Array = NDArray[Any]

SIZES = st.sampled_from((40, 21, 13, 8, 8, 5, 5, 3, 3, 2, 1, 0))
SPECIAL = (np.nan, np.inf, -np.inf, -1.0, 0.0, 5e-324, 1e-300, 1e-30, 1e30, 1e300, 1.7e308)


def spoil(array: Array, data: st.DataObject, rng: np.random.Generator) -> Array:
    """Sometimes replace numbers, rows or columns by extreme values or copies of others."""
    if not array.size or array.ndim != 2:
        return array
    ways = st.sampled_from(("number", "row", "column", "copies", "scale"))
    for how in data.draw(st.one_of(st.just([]), st.lists(ways, max_size=2))):
        value = data.draw(st.sampled_from(SPECIAL))
        i, j = rng.integers(array.shape[0]), rng.integers(array.shape[1])
        with np.errstate(over="ignore", invalid="ignore"):
            match how:
                case "number":
                    array[i, j] = value
                case "row":
                    array[i] = value
                case "column":
                    array[:, j] = value
                case "copies":
                    array[:] = array[rng.integers(0, min(2, len(array)), len(array))]
                case "scale":
                    array *= value
    return array


@st.composite
def outputs(draw: st.DrawFn) -> dict[str, Array]:
    """Draw probabilities, features and labels, most of them as a model would output."""
    data, rng = draw(st.data()), np.random.default_rng(draw(st.integers(0, 2**32)))
    n, classes = draw(SIZES), draw(st.sampled_from((3, 2, 7, 50, 1)))
    source, width = draw(SIZES), draw(SIZES)
    dtype = draw(st.sampled_from((np.float32, np.float64, np.float64)))
    sharpness = draw(st.sampled_from((0.001, 0.1, 1.0, 100.0)))
    with np.errstate(invalid="ignore"):
        rows = rng.gamma(sharpness, size=(n, source)) + 1e-300
        probs = (rows / rows.sum(axis=1, keepdims=True)).astype(dtype)
        labels: Array = rng.integers(0, classes, n)
        features = rng.normal(size=(n, width)).astype(dtype)
        features += draw(st.sampled_from((0, 0, 3))) * np.resize(labels, (width, n)).T.astype(dtype)
    probs, features = spoil(probs, data, rng), spoil(features, data, rng)
    match draw(st.sampled_from(("as they are",) * 4 + ("odd", "float", "text", "two axes", "long", "far"))):
        case "odd":
            labels = labels.astype(draw(st.sampled_from(("i1", "u1", ">i4", "u8", "?"))))
        case "float":
            labels = labels.astype(float)
        case "text":
            labels = labels.astype(str)
        case "two axes":
            labels = labels[None]
        case "long":
            labels = np.concatenate([labels, labels])
        case "far":
            labels = labels * (2**50) - draw(st.integers(0, 1))
    return {"probs": probs, "features": features, "labels": labels}


def check_scores(found: Any) -> None:
    for score in found.scores.values():
        numbers = [
            score.value,
            *(score.interval or ()),
            *([] if score.standard_error is None else [score.standard_error]),
        ]
        assert all(math.isfinite(number) for number in numbers), score
        assert np.isfinite(score.terms).all(), score.name
        assert all(math.isfinite(number) for number in score.diagnostics.values()), score


@tally.examples(250)
@given(arrays=outputs())
def test_any_numbers(arrays: dict[str, Array], tmp_path_factory: pytest.TempPathFactory) -> None:
    """All scores are finite, or the error is one line; never a warning or NaN."""
    folder = tmp_path_factory.getbasetemp()
    paths = {name: folder / f"fuzz-{name}.npy" for name in arrays}
    for name, array in arrays.items():
        np.save(paths[name], array)
    for chosen in ({"probs", "features"}, {"probs"}, {"features"}):
        given_paths = {name: paths[name] if name in chosen else None for name in ("probs", "features")}
        try:
            with tally.limited("arrays", **{f"{name}_npy": path.read_bytes() for name, path in paths.items()}):
                found = score_files(paths["labels"], given_paths["probs"], given_paths["features"], [])
        except ArrayError as error:
            assert "\n" not in str(error)  # noqa: PT017
            tally.outcome("arrays", "refused")
            continue
        check_scores(found)
        tally.outcome("arrays", "scored")
        if chosen == {"probs", "features"}:
            assert list(found.scores) == list(SCORES)


def whole(array: Array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


RNG = np.random.default_rng(0)
PROBS, FEATURES, LABELS = RNG.dirichlet(np.ones(5), 12), RNG.normal(size=(12, 4)), RNG.integers(0, 3, 12)
OBJECTS = io.BytesIO()
np.save(OBJECTS, np.array([{}, "x"], object), allow_pickle=True)
FILES = {"probs": whole(PROBS), "features": whole(FEATURES.astype(np.float32)), "labels": whole(LABELS)}


@tally.examples(400)
@given(name=st.sampled_from(sorted(FILES)), to=damage(*FILES.values(), OBJECTS.getvalue()))
def test_any_bytes(name: str, to: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A damaged .npy file yields an array that is checked as usual, or a one-line error that names the file."""
    folder = tmp_path_factory.getbasetemp()
    paths = {each: folder / f"damaged-{each}.npy" for each in FILES}
    for each, content in FILES.items():
        paths[each].write_bytes(to(content) if each == name else content)
    try:
        with tally.limited("array files", **{f"{each}_npy": path.read_bytes() for each, path in paths.items()}):
            loaded = load_array(paths[name])
            assert loaded.dtype != object
            found = score_files(paths["labels"], paths["probs"], paths["features"], [])
    except ArrayError as error:
        assert "\n" not in str(error)  # noqa: PT017
        tally.outcome("array files", "refused")
    else:
        check_scores(found)
        tally.outcome("array files", "scored")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "probs.npy"
    path.write_bytes(FILES["probs"][:-1])
    with pytest.raises(ArrayError, match=r"probs\.npy: broken"):
        load_array(path)
