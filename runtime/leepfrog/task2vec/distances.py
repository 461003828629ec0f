"""Distances between tasks (Achille et al., ICCV 2019, section 3, and the authors' code).

h0 and h1 are embeddings [F]. Variances are 1 / (h + p) with a prior precision p, which for each layer is PRIOR times
the layer's mean over all compared embeddings. Without a prior, a filter that is dead in one task would be infinitely
far from the same filter in another; with an absolute prior, such as the reference code's 1e-8, distances would depend
on the unit of the embeddings.

symmetric           1 - cos(h0 / (h0 + h1), h1 / (h0 + h1)), as in the paper; filters dead in both tasks are excluded
asymmetric          symmetric(h0, h1) - alpha symmetric(h0, t0), from an expert's task h0 to a task h1; smaller if h0 is
                    complex, that is, far from the trivial embedding t0 = p
normalized_cosine   1 - cos of the variances relative to the prior's, p / (h + p)
kl                  sum over filters of max(KL(0|1), KL(1|0)) between Gaussians with these variances
asymmetric_kl       sum over filters of KL(0|1)
jensen_shannon      sum over filters of the mean KL divergence of both to the Gaussian with their mean variance
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leepfrog.arguments import check_name
from leepfrog.arrays import numbers
from leepfrog.inference.device import available_threads, check_threads
from leepfrog.kernels.pairwise import symmetric_block
from leepfrog.task2vec.choices import DISTANCES
from leepfrog.task2vec.embedding import Embedding, check_comparable

Floats = NDArray[np.float64]

ALPHA = 0.15
PRIOR = 0.1
# Number of rows and columns per block; blocks are the unit of work for threads.
BLOCK = 32


def symmetric(rows: ArrayLike, columns: ArrayLike | None = None, threads: int | None = None) -> Floats:
    """Compute the symmetric distance of each row from each column, [T, U].

    Args:
        rows: embeddings [T, F].
        columns: embeddings [U, F]; None to compare the rows with each other, computing each pair once.
        threads: number of threads; None for all cores available to this process.
    """
    check_threads(threads)
    whole = numbers(rows, "rows"), numbers(rows if columns is None else columns, "columns")
    # A common unit in which float32 can represent all values.
    top = max(float(side.max(initial=0)) for side in whole) or 1.0
    a, b = (np.ascontiguousarray(side / top, np.float32) for side in whole)
    matrix = np.zeros((len(a), len(b)))

    def block(corner: tuple[int, int]) -> None:
        i, j = corner
        out = np.empty((len(a[i : i + BLOCK]), len(b[j : j + BLOCK])))
        symmetric_block(a[i : i + BLOCK], b[j : j + BLOCK], out)
        matrix[i : i + BLOCK, j : j + BLOCK] = out

    corners = [
        (i, j) for i in range(0, len(a), BLOCK) for j in range(0, len(b), BLOCK) if columns is not None or j >= i
    ]
    with ThreadPoolExecutor(threads or available_threads()) as pool:
        list(pool.map(block, corners))
    if columns is None:
        upper = np.triu(matrix, 1)
        return upper + upper.T
    return matrix


def prior_of(rows: ArrayLike, n_filters: Sequence[int]) -> Floats:
    """Compute the prior precision [F], which is constant within each layer.

    Args:
        rows: all compared embeddings, [T, F].
        n_filters: number of filters of each layer.
    """
    means = numbers(rows, "rows").mean(axis=0, dtype=np.float64)
    layers = np.split(means, np.cumsum(n_filters)[:-1])
    # A layer that is dead in every task carries no information, so any positive prior will do.
    levels = [layer.mean() or 1.0 for layer in layers]
    return np.asarray(PRIOR * np.repeat(levels, n_filters))


def asymmetric(experts: ArrayLike, tasks: ArrayLike, prior: Floats, alpha: float = ALPHA) -> Floats:
    """Compute asymmetric distances, [T, U]: symmetric distances minus alpha times the complexity of the expert's task.

    Args:
        experts: embeddings of the experts' tasks, [T, F].
        tasks: embeddings of the tasks, [U, F].
        prior: the trivial embedding, [F].
        alpha: weight of the complexity.
    """
    return symmetric(experts, tasks) - alpha * symmetric(experts, prior[None])


def _normalized_cosine(h0: Floats, h1: Floats, prior: Floats) -> float:
    v0, v1 = prior / (h0 + prior), prior / (h1 + prior)
    return float(1 - (v0 @ v1) / np.sqrt((v0 @ v0) * (v1 @ v1)))


def _divergence(v0: Floats, v1: Floats) -> Floats:
    """Compute the KL divergence of zero-mean Gaussians with variances v0 from v1, per filter, in nats."""
    return np.asarray(0.5 * (v0 / v1 - 1 + np.log(v1 / v0)))


def _kl(h0: Floats, h1: Floats, prior: Floats) -> float:
    v0, v1 = 1 / (h0 + prior), 1 / (h1 + prior)
    return float(np.maximum(_divergence(v0, v1), _divergence(v1, v0)).sum())


def _asymmetric_kl(h0: Floats, h1: Floats, prior: Floats) -> float:
    return float(_divergence(1 / (h0 + prior), 1 / (h1 + prior)).sum())


def _jensen_shannon(h0: Floats, h1: Floats, prior: Floats) -> float:
    v0, v1 = 1 / (h0 + prior), 1 / (h1 + prior)
    middle = (v0 + v1) / 2
    return float((_divergence(v0, middle) + _divergence(v1, middle)).sum() / 2)


_OF_PAIRS: dict[str, Callable[[Floats, Floats, Floats], float]] = {
    "normalized_cosine": _normalized_cosine,
    "kl": _kl,
    "asymmetric_kl": _asymmetric_kl,
    "jensen_shannon": _jensen_shannon,
}


def distances(embeddings: Sequence[Embedding], kind: str = "symmetric") -> Floats:
    """Compute the distances from each embedding (row) to each embedding (column), [T, T].

    Args:
        embeddings: embeddings made with the same probe.
        kind: "symmetric", "asymmetric", "normalized_cosine", "kl", "asymmetric_kl" or "jensen_shannon".

    Raises:
        UsageError: the kind is unknown.
        EmbeddingError: the embeddings are by different probes.

    >>> import leepfrog
    >>> photos = leepfrog.find_images("PHOTOS")
    >>> halves = photos[::2], photos[1::2]
    >>> embeddings = [leepfrog.embed(half, "mobilenet_v2") for half in halves]
    >>> bool(distances(embeddings)[0, 1] < 0.2)
    True
    """
    check_comparable(embeddings)
    rows = np.stack([embedding.vector for embedding in embeddings])
    prior = prior_of(rows, [layer.n_filters for layer in embeddings[0].layers])
    if kind == "symmetric":
        return symmetric(rows)
    if kind == "asymmetric":
        matrix = asymmetric(rows, rows, prior)
        # The distance to itself is the complexity term alone, without rounding errors of the symmetric part.
        np.fill_diagonal(matrix, -ALPHA * symmetric(rows, prior[None])[:, 0])
        return matrix
    check_name("distance", kind, DISTANCES)
    # Rescale so that squares neither underflow nor overflow.
    top = float(rows.max())
    return np.array([[_OF_PAIRS[kind](a / top, b / top, prior / top) for b in rows] for a in rows])
