"""Invalid arrays given to `leepfrog score`, and scores that must not depend on how the arrays are given."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tally
from commands import Done, Here, Row, row
from leepfrog.scores import transrate
from leepfrog.scoring.registry import SCORES
from numpy.typing import NDArray
from reference import scores as reference

Array = NDArray[Any]

RNG = np.random.default_rng(0)
PROBS = RNG.dirichlet(np.ones(7), 40)
FEATURES = RNG.normal(size=(40, 6))
LABELS = RNG.integers(0, 3, 40)
FEATURES[:, 0] += 3 * LABELS
SCORE = "score --labels labels.npy --probs probs.npy --features features.npy"


def npy(array: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def arrays(**instead: Any) -> Callable[[Path], None]:
    """Return a function that writes three valid arrays, except for those replaced by `instead`."""

    def make(here: Path) -> None:
        for name, array in {"probs": PROBS, "features": FEATURES, "labels": LABELS, **instead}.items():
            (here / f"{name}.npy").write_bytes(array if isinstance(array, bytes) else npy(array))

    return make


def at(array: Array, index: object, value: float) -> Array:
    changed = array.astype(np.result_type(array, type(value)))
    changed[index] = value
    return changed


def shape_of(claimed: tuple[int, ...]) -> bytes:
    """Return a .npy file whose header claims this shape, with 80 bytes of data."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": claimed})
    return stream.getvalue() + bytes(80)


PICKLED = npy(np.array([{}, {}], object), allow_pickle=True)

ROWS = [
    row("probs with one axis", arrays(probs=PROBS[0]), SCORE, 3, "probs has shape [7]; it must be [N, Z]"),
    row("probs with three axes", arrays(probs=PROBS[None]), SCORE, 3, "probs has shape [1, 40, 7]"),
    row("scalar probs", arrays(probs=np.float64(1)), SCORE, 3, "probs has shape []"),
    row("no rows", arrays(probs=PROBS[:0]), SCORE, 3, "probs has no rows"),
    row("one source class", arrays(probs=np.ones((40, 1))), SCORE, 3, "1 source class(es)"),
    row("no source class", arrays(probs=np.ones((40, 0))), SCORE, 3, "0 source class(es)"),
    row("features without columns", arrays(features=FEATURES[:, :0]), SCORE, 3, "features has shape [40, 0]"),
    row("features with one axis", arrays(features=FEATURES[0]), SCORE, 3, "features has shape [6]"),
    row("different numbers of rows", arrays(features=FEATURES[:39]), SCORE, 3, "probs has 40 rows but features has 39"),
    row("wrong number of labels", arrays(labels=LABELS[:39]), SCORE, 3, "labels has 39 entries for 40 rows"),
    row("labels with two axes", arrays(labels=LABELS[None]), SCORE, 3, "labels has shape [1, 40]"),
    row("nan", arrays(probs=at(PROBS, (3, 2), np.nan)), SCORE, 3, "probs row 3 contains NaN or infinity", "1 of 40"),
    row("nan features", arrays(features=at(FEATURES, (5, 0), np.nan)), SCORE, 3, "features row 5 contains NaN"),
    row("inf", arrays(probs=at(PROBS, (3, 2), np.inf)), SCORE, 3, "probs row 3 contains NaN or infinity"),
    row("inf features", arrays(features=at(FEATURES, (5, 0), -np.inf)), SCORE, 3, "features row 5 contains NaN"),
    row("negative rows", arrays(probs=at(PROBS, (0, 0), -0.1)), SCORE, 3, "probs row 0", "logits? apply a softmax"),
    row("logits", arrays(probs=10 * FEATURES), SCORE, 3, "probs row 0", "apply a softmax first", "40 of 40"),
    row("unnormalized rows", arrays(probs=2 * PROBS), SCORE, 3, "probs row 0 sums to 2, not 1"),
    row("rows of zeros", arrays(probs=0 * PROBS), SCORE, 3, "probs row 0 sums to 0, not 1"),
    row("negative labels", arrays(labels=LABELS - 1), SCORE, 3, "labels contains -1; class indices start at 0"),
    row("float labels", arrays(labels=LABELS * 1.0), SCORE, 3, "labels has dtype float64; it must be integers"),
    row("bool labels", arrays(labels=LABELS > 0), SCORE, 0, "leep", "ridge"),
    row("text labels", arrays(labels=LABELS.astype(str)), SCORE, 0, "leep", "ridge"),
    row("byte labels", arrays(labels=LABELS.astype("S")), SCORE, 3, "labels has dtype |S21; it must be integers"),
    row("one class", arrays(labels=0 * LABELS), SCORE, 3, "labels contains a single class"),
    row("labels with large gaps", arrays(labels=at(LABELS, 0, 2**62)), SCORE, 0, "leep"),
    row("one class per image", arrays(labels=np.arange(40)), SCORE, 0, "leep", "ridge"),
    row("object dtype", arrays(probs=PICKLED), SCORE, 3, "probs.npy", "pickled Python objects, which are not loaded"),
    row("pickled labels", arrays(labels=PICKLED), SCORE, 3, "labels.npy", "pickled Python objects"),
    row("a pickle", arrays(probs=b"\x80\x04\x95."), SCORE, 3, "probs.npy: not a .npy file (write it with numpy.save)"),
    row("text", arrays(probs=b"0.5,0.5\n"), SCORE, 3, "error: probs.npy: not a .npy file"),
    row("empty file", arrays(probs=b""), SCORE, 3, "error: probs.npy: not a .npy file"),
    row("truncated", arrays(probs=npy(PROBS)[:-8]), SCORE, 3, "probs.npy: broken"),
    row("truncated header", arrays(probs=npy(PROBS)[:40]), SCORE, 3, "probs.npy: broken"),
    row("larger than memory", arrays(probs=shape_of((1 << 40, 7))), SCORE, 3, "probs.npy: broken"),
    row("larger than the address space", arrays(probs=shape_of((1 << 70, 7))), SCORE, 3, "probs.npy: broken"),
    row("a negative shape", arrays(probs=shape_of((-1, 7))), SCORE, 3, "probs.npy"),
    row("records", arrays(probs=np.zeros(40, [("a", "f4")])), SCORE, 3, "probs has shape [40]"),
    row("half precision", arrays(probs=PROBS.astype(np.float16)), SCORE, 3, "float16, which rounds"),
    row("complex", arrays(features=FEATURES + 0j), SCORE, 3, "features has dtype complex128"),
    row("dates", arrays(features=FEATURES.astype("M8[s]")), SCORE, 3, "features has dtype datetime64[s]"),
    row("missing", lambda here: None, SCORE, 3, ".npy: cannot be read: No such file"),
    row("a folder", lambda here: (here / "probs.npy").mkdir(), SCORE, 3, "probs.npy: cannot be read: Is a directory"),
    row("nothing to score", arrays(), "score --labels labels.npy", 2, "give --probs, --features or both"),
    row("a score without its array", arrays(), "score --labels labels.npy --probs probs.npy -s knn", 2, "--features"),
    row("an unknown score", arrays(), f"{SCORE} -s leap", 2, "score 'leap' is unknown; did you mean leep?"),
    row("unknown output format", arrays(), f"{SCORE} -o scores.xls", 2, "scores.xls", ".json"),
]


@pytest.mark.parametrize("row", ROWS)
def test_arrays(row: Row, home: Path, here: Here) -> None:
    row.make(here.folder)
    before = sorted(here.folder.iterdir())
    done = here.call(*row.command.split())
    tally.INPUTS["arrays"] += 1
    done.check(row.code, *row.words)
    assert sorted(here.folder.iterdir()) == before
    assert not home.exists()


def scores(done: Done) -> dict[str, float]:
    done.check(0)
    return {name: score["value"] for name, score in done.json["scores"].items()}


@pytest.fixture
def scored(home: Path, here: Here) -> Callable[..., dict[str, float]]:
    """Function that computes the scores of arrays through the command line, by name of the score."""

    def score(**instead: Any) -> dict[str, float]:
        arrays(**instead)(here.folder)
        tally.INPUTS["arrays"] += 1
        values = scores(here.call(*SCORE.split(), "--format", "json"))
        assert values.keys() == SCORES.keys()
        assert all(np.isfinite(value) for value in values.values())
        return values

    return score


# Tolerances of scores that draw folds, components, subsets or shots in image order, and so depend on it slightly.
DRAWN = {"linear_probe": 0.08, "n_leep": 0.05, "few_shot": 0.08}


def alike(one: dict[str, float], other: dict[str, float], rtol: float = 1e-6, drawn: bool = False) -> None:
    for name, value in one.items():
        slack = DRAWN.get(name, 0) if drawn else 0
        assert other[name] == pytest.approx(value, rel=rtol + slack, abs=1e-9 + slack), name


def test_labels_may_be_any_numbers(scored: Callable[..., dict[str, float]]) -> None:
    plain = scored()
    for names in itertools.permutations((0, 1, 2)):
        alike(plain, scored(labels=np.array(names)[LABELS]), drawn=True)
    for kind in (np.int8, np.uint8, np.uint64, ">i4"):
        alike(plain, scored(labels=LABELS.astype(kind)))
    alike(plain, scored(labels=1000 + 7 * LABELS))


def test_the_order_of_images_and_columns_does_not_count(scored: Callable[..., dict[str, float]]) -> None:
    plain, order = scored(), np.random.default_rng(1).permutation(40)
    alike(plain, scored(probs=PROBS[order], features=FEATURES[order], labels=LABELS[order]), drawn=True)
    alike(plain, scored(probs=PROBS[:, ::-1], features=FEATURES[:, ::-1]), rtol=1e-5, drawn=True)
    alike(plain, scored(probs=np.asfortranarray(PROBS), features=np.asfortranarray(FEATURES)))


def test_source_classes_without_mass_change_nothing(scored: Callable[..., dict[str, float]]) -> None:
    plain = scored()
    wider = np.concatenate([PROBS, np.zeros((40, 5))], axis=1)
    alike(plain, scored(probs=wider))
    tiny = np.concatenate([PROBS, np.full((40, 5), 5e-324)], axis=1)  # the smallest positive float64
    alike(plain, scored(probs=tiny), rtol=1e-4)


def test_features_of_any_scale(scored: Callable[..., dict[str, float]]) -> None:
    plain = scored()
    for scale in (1e-290, 1e-150, 1e-30, 1e30, 1e150, 1e290):
        scaled = scored(features=FEATURES * scale)
        for name in ("knn", "ridge", "logme", "h_score", "sfda", "parc"):
            assert np.isfinite(scaled[name])
        alike({name: plain[name] for name in ("knn", "parc", "linear_probe")}, scaled, rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3, 1e6])
def test_transrate_of_large_features_is_the_formula(scale: float) -> None:
    """From a scale of 1e6, epsilon is below the rounding error of the terms that it is added to."""
    expected = reference.transrate(scale * FEATURES, LABELS, 1e-4)
    assert transrate(scale * FEATURES, LABELS).value == pytest.approx(expected, rel=1e-6)
