"""The depthwise gradient kernel against its definition, and running moments against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from leepfrog.kernels.depthwise import mean_squared_gradients
from leepfrog.task2vec.fisher import Moments, self_distance
from numpy.typing import NDArray

Pair = tuple[int, int]


def by_definition(
    seen: NDArray[np.float32], gradient: NDArray[np.float32], window: Pair, strides: Pair, dilations: Pair, begin: Pair
) -> NDArray[np.float64]:
    """Compute mean squared gradients, each gradient as an explicit sum over positions inside the image."""
    n, channels, height, width = seen.shape
    _, n_out, rows, columns = gradient.shape
    squares = np.zeros((n, n_out, *window))
    for i, o, y, x in np.ndindex(n, n_out, *window):
        total = 0.0
        for p, q in np.ndindex(rows, columns):
            at_y = p * strides[0] + y * dilations[0] - begin[0]
            at_x = q * strides[1] + x * dilations[1] - begin[1]
            if 0 <= at_y < height and 0 <= at_x < width:
                total += float(gradient[i, o, p, q]) * float(seen[i, o // (n_out // channels), at_y, at_x])
        squares[i, o, y, x] = total**2
    return squares.mean(axis=(2, 3))


small = st.tuples(st.integers(1, 5), st.integers(1, 5))


@pytest.mark.full
@settings(max_examples=60, deadline=None)
@given(
    channels=st.integers(1, 3), multiplier=st.integers(1, 2), size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    window=small, strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dilations=st.tuples(st.integers(1, 3), st.integers(1, 3)), begin=st.tuples(st.integers(0, 5), st.integers(0, 5)),
    end=st.tuples(st.integers(0, 5), st.integers(0, 5)), seed=st.integers(0, 1000),
)  # fmt: skip
def test_equals_the_definition(
    channels: int, multiplier: int, size: Pair, window: Pair, strides: Pair, dilations: Pair, begin: Pair, end: Pair,
    seed: int,
) -> None:  # fmt: skip
    lengths = [
        (h + b + e - d * (k - 1) - 1) // s + 1
        for h, k, s, d, b, e in zip(size, window, strides, dilations, begin, end, strict=True)
    ]
    assume(min(lengths) > 0)
    rng = np.random.default_rng(seed)
    seen = rng.standard_normal((2, channels, *size)).astype(np.float32)
    gradient = rng.standard_normal((2, channels * multiplier, *lengths)).astype(np.float32)
    out = np.full(gradient.shape[:2], np.nan, np.float32)
    mean_squared_gradients(seen, gradient, window, strides, dilations, begin, out)
    expected = by_definition(seen, gradient, window, strides, dilations, begin)
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(2, 40), parts=st.integers(1, 4), seed=st.integers(0, 1000), shift=st.sampled_from([0.0, 1e6]))
def test_moments(n: int, parts: int, seed: int, shift: float) -> None:
    rows = np.random.default_rng(seed).exponential(size=(n, 7)) + shift
    moments = Moments(7)
    for part in np.array_split(rows, parts):
        moments.add(part)
    assert moments.n == n
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.standard_errors, rows.std(axis=0, ddof=1) / np.sqrt(n), rtol=1e-6)


def test_moments_of_one_row_have_no_error() -> None:
    moments = Moments(2)
    moments.add(np.ones((1, 2)))
    assert np.isnan(moments.standard_errors).all()


def test_self_distance_is_how_far_a_repetition_lies() -> None:
    """The prediction matches the mean over 40 pairs of embeddings with independent noise of 10 % per filter."""
    rng = np.random.default_rng(0)
    truth = rng.exponential(size=4000) + 0.01
    found = []
    for _ in range(40):
        h0, h1 = truth * (1 + 0.1 * rng.standard_normal((2, 4000)))
        a, b = h0 / (h0 + h1), h1 / (h0 + h1)
        found.append(1 - a @ b / np.sqrt((a @ a) * (b @ b)))
    predicted = self_distance(truth, 0.1 * truth)
    assert abs(predicted - 0.01) < 1e-12
    assert abs(np.mean(found) / predicted - 1) < 0.05
