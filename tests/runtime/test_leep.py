"""LEEP and leave-one-out LEEP: comparison with an exact oracle, and properties that follow from their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from leepfrog import leep, leep_loo
from leepfrog.errors import ArrayError
from leepfrog.scoring.joint_mass import JointMass, leep_scores
from numpy.typing import NDArray
from reference import leep as oracle

Floats = NDArray[np.floating]
TOLERANCE = 1e-12


def softmax(logits: Floats) -> Floats:
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def entropy(labels: NDArray[np.int64]) -> float:
    frequencies = np.unique(labels, return_counts=True)[1] / len(labels)
    return float(-(frequencies * np.log(frequencies)).sum())


@st.composite
def problems(draw: st.DrawFn) -> tuple[Floats, NDArray[np.int64]]:
    """Draw softmax rows of any sharpness, down to subnormal and zero entries, in float32 or float64, and labels."""
    n, n_source = draw(st.integers(1, 12)), draw(st.integers(2, 9))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    spread = draw(st.sampled_from([0.0, 1.0, 30.0, 100.0, 700.0, 5000.0]))
    logits = draw(hnp.arrays(np.float64, (n, n_source), elements=st.floats(-1, 1)))
    labels = draw(hnp.arrays(np.int64, n, elements=st.integers(0, 4)))
    return softmax(spread * logits).astype(dtype), labels


HOSTILE = {
    "one image": (np.array([[0.25, 0.75]]), [3]),
    "source class without mass": (np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.5, 0.5, 0.0]]), [0, 1, 0]),
    "subnormal source class": (np.array([[1.0, 5e-324], [1.0, 5e-324], [1.0, 0.0]]), [0, 1, 0]),
    "float32 subnormals": (np.array([[1.0, 1e-45], [1.0, 1e-45], [1e-45, 1.0]], np.float32), [0, 1, 1]),
    "labels with gaps": (np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]]), [10**12, 0, 10**12]),
    "one class": (np.array([[0.9, 0.1], [0.2, 0.8]]), [1, 1]),
    "every class once": (np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]]), [0, 1, 2]),
    "own mass dominates": (
        np.array([[1 - 1e-9, 1e-9], [1e-9, 1 - 1e-9], [1e-12, 1 - 1e-12], [3e-12, 1 - 3e-12]]),
        [0, 1, 0, 1],
    ),
    "own mass swamps the rest in float64": (
        np.array([[1.0, 1e-30], [1e-20, 1.0], [2e-20, 1.0], [1e-25, 1.0]]),
        [0, 1, 0, 1],
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("score", ["leep", "leep_loo"])
def test_hostile_input_equals_the_oracle(case: str, score: str) -> None:
    probs, labels = HOSTILE[case]
    result = {"leep": leep, "leep_loo": leep_loo}[score](probs, labels)
    assert result.value == pytest.approx(getattr(oracle, score)(probs, labels), abs=TOLERANCE, rel=TOLERANCE)


@given(problems())
def test_equals_the_oracle(problem: tuple[Floats, NDArray[np.int64]]) -> None:
    probs, labels = problem
    assert leep(probs, labels).value == pytest.approx(oracle.leep(probs, labels), abs=TOLERANCE, rel=TOLERANCE)
    assert leep_loo(probs, labels).value == pytest.approx(oracle.leep_loo(probs, labels), abs=TOLERANCE, rel=TOLERANCE)


@pytest.mark.full
def test_equals_the_oracle_on_many_source_classes() -> None:
    rng = np.random.default_rng(0)
    probs = softmax(rng.normal(0, 3, (60, 200))).astype(np.float32)
    labels = rng.integers(0, 7, 60)
    assert leep(probs, labels).value == pytest.approx(oracle.leep(probs, labels), abs=TOLERANCE)
    assert leep_loo(probs, labels).value == pytest.approx(oracle.leep_loo(probs, labels), abs=TOLERANCE)


def test_perfect_one_hot_gives_zero() -> None:
    labels = np.repeat(np.arange(5), 4)
    probs = np.eye(8)[labels + 2]
    assert leep(probs, labels).value == 0.0
    assert leep_loo(probs, labels).value == 0.0
    assert leep(probs, labels).diagnostics["n_masked_source"] == 3


@given(hnp.arrays(np.int64, st.integers(2, 40), elements=st.integers(0, 6)), st.integers(2, 30))
def test_uninformative_gives_minus_the_label_entropy(labels: NDArray[np.int64], n_source: int) -> None:
    probs = np.full((len(labels), n_source), 1 / n_source)
    assert leep(probs, labels).value == pytest.approx(-entropy(labels), abs=1e-12)


@given(problems())
def test_is_at_most_zero_and_at_least_minus_the_label_entropy(problem: tuple[Floats, NDArray[np.int64]]) -> None:
    # Lower bound: the log of an average of P(y|z) is at least the average of its log, which is minus a conditional
    # entropy, and that entropy is at most H(y). The slack allows for the rounding of float32 rows.
    probs, labels = problem
    assert -entropy(labels) - 1e-5 <= leep(probs, labels).value <= 1e-5


@given(problems(), st.randoms(use_true_random=False))
def test_order_of_images_and_names_of_classes_do_not_matter(problem: tuple[Floats, NDArray[np.int64]], random) -> None:
    probs, labels = problem
    order = list(range(len(labels)))
    random.shuffle(order)
    names = list(range(5))
    random.shuffle(names)
    sources = list(range(probs.shape[1]))
    random.shuffle(sources)
    changed = probs[order][:, sources], np.array(names)[labels[order]]
    for score in (leep, leep_loo):
        assert score(*changed).value == pytest.approx(score(probs, labels).value, abs=TOLERANCE, rel=TOLERANCE)


@given(problems(), st.lists(st.integers(0, 12), max_size=3), st.randoms(use_true_random=False))
def test_split_and_merged_shards_give_the_same(problem: tuple[Floats, NDArray[np.int64]], cuts, random) -> None:
    probs, labels = problem
    split = zip(np.split(probs, sorted(cuts)), np.split(labels, sorted(cuts)), strict=True)
    shards = [shard for shard in split if len(shard[1])]
    random.shuffle(shards)
    parts = []
    for shard in shards:
        part = JointMass.empty(5, probs.shape[1])
        part.add(*shard)
        parts.append(part)
    total = JointMass.empty(5, probs.shape[1])
    for part in parts:
        total.merge(part)
    merged = leep_scores(total, lambda: shards)
    assert merged.leep.value == pytest.approx(leep(probs, labels).value, abs=TOLERANCE, rel=TOLERANCE)
    assert merged.leep_loo.value == pytest.approx(leep_loo(probs, labels).value, abs=TOLERANCE, rel=TOLERANCE)
    assert merged.leep_loo.diagnostics == pytest.approx(dict(leep_loo(probs, labels).diagnostics), abs=TOLERANCE)


def test_leep_is_biased_upward_on_few_images_and_leave_one_out_is_not() -> None:
    """If labels are independent of the predictions, no score should exceed minus the label entropy."""
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(5), 10)
    probs = softmax(rng.normal(0, 4, (50, 1000)))
    assert leep(probs, labels).value > -entropy(labels) + 0.2
    assert leep_loo(probs, labels).value < -entropy(labels) + 0.02


def test_leep_and_leave_one_out_leep_err_to_either_side() -> None:
    """On 200 of 20,000 images, `many_images` predicts LEEP of all images better than either score does."""
    rng = np.random.default_rng(0)
    labels = np.arange(20_000) % 5
    probs = softmax(rng.normal(0, 1.5, (20_000, 60)) + 2 * rng.normal(0, 1, (5, 60))[labels])
    whole = leep(probs, labels).value
    estimates = []
    for _ in range(20):
        rows = rng.permutation(20_000)[:200]
        held_out = leep_loo(probs[rows], labels[rows])
        estimates.append((leep(probs[rows], labels[rows]).value, held_out.value, held_out.diagnostics["many_images"]))
    off = np.mean(estimates, axis=0) - whole
    assert off[0] > 0 > off[1]
    assert abs(off[2]) < min(off[0], -off[1])


def test_each_image_counts_as_much_as_its_weight_does() -> None:
    """Terms are derivatives: adding one image to many copies of the whole set moves the score by that image's term."""
    rng = np.random.default_rng(2)
    labels = np.repeat([0, 1, 2], [8, 5, 7])
    probs = softmax(rng.normal(0, 2, (20, 6)))
    score = leep(probs, labels)
    copies = 2000
    for i in (0, 9, 19):
        more = np.concatenate([np.tile(np.arange(20), copies), [i]])
        moved = (leep(probs[more], labels[more]).value - score.value) * len(more)
        assert moved == pytest.approx(score.terms[i] - score.value, rel=2e-3, abs=1e-4)
    assert score.terms.mean() == pytest.approx(score.value, abs=1e-12)
    assert (score.n_samples, score.n_source, score.n_target) == (20, 6, 3)
    assert leep(probs[:1], labels[:1]).standard_error is None


def test_a_class_seen_once_is_floored_and_reported() -> None:
    score = leep_loo(np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]]), [0, 0, 1])
    counts = {name: count for name, count in score.diagnostics.items() if name != "many_images"}
    assert counts == {"n_floored": 1, "n_classes_seen_once": 1}
    assert math.isfinite(score.value)


GOOD = np.full((3, 4), 0.25)
BAD_ARRAYS = {
    "objects": (np.array([[1, None]], dtype=object), [0], "Python objects"),
    "one axis": (np.ones(3), [0, 0, 0], "must be [N, Z]"),
    "no rows": (np.ones((0, 3)), [], "no rows"),
    "one source class": (np.ones((2, 1)), [0, 1], "at least 2"),
    "integers": (np.eye(2, dtype=int), [0, 1], "float32 or float64"),
    "half precision": (np.eye(2, dtype=np.float16), [0, 1], "softmax in float32"),
    "NaN": (np.array([[0.5, 0.5], [np.nan, 0.5]]), [0, 1], "row 1 contains NaN"),
    "infinity": (np.array([[np.inf, 0.5], [0.5, 0.5]]), [0, 1], "row 0 contains NaN or infinity"),
    "infinities that cancel": (np.array([[np.inf, -np.inf], [0.5, 0.5]]), [0, 1], "row 0"),
    "negative": (np.array([[1.5, -0.5], [0.5, 0.5]]), [0, 1], "negative"),
    "logits": (np.array([[3.0, 1.0], [0.5, 0.5]]), [0, 1], "sums to 4, not 1"),
    "label shape": (GOOD, [[0], [1], [2]], "must be [N]"),
    "label count": (GOOD, [0, 1], "2 entries for 3 rows"),
    "float labels": (GOOD, [0.0, 1.0, 2.0], "must be integers"),
    "negative labels": (GOOD, [0, -1, 1], "start at 0"),
    "ragged labels": (GOOD, np.array([0, [1], 2], dtype=object), "must be integers"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
@pytest.mark.parametrize("score", [leep, leep_loo])
def test_bad_arrays_are_errors_not_numbers(case: str, score) -> None:
    probs, labels, message = BAD_ARRAYS[case]
    with pytest.raises(ArrayError) as error:
        score(probs, labels)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_sums_of_different_shapes_do_not_merge() -> None:
    with pytest.raises(ArrayError, match="cannot merge"):
        JointMass.empty(2, 3).merge(JointMass.empty(3, 3))


def test_strided_and_read_only_arrays_are_taken() -> None:
    wide = np.full((6, 8), 0.25)
    view = wide[::2, ::2]
    view.flags.writeable = False
    assert leep(view, [0, 1, 1]).value == leep(view.copy(), [0, 1, 1]).value
