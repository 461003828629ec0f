"""How much to penalise a head: as much as predicts images best that it was not fitted to.

A head has more weights than a task has images, and fits them all with certainty if it is let; an image whose label is
certain has no Fisher information, so the embedding would hang on the few that are left. The penalty decides that, and
held-out images decide the penalty: the largest that they cannot tell from the best. The best itself jumps by decades
from one sample of a task to the next, and the embedding's scale with it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leepfrog.errors import ArrayError
from leepfrog.scores.checks import checked_labels
from leepfrog.task2vec.head import fit_head

N_FOLDS = 5
# More images make the choice slower and hardly better; what is best for fewer is scaled to all of them.
MAX_IMAGES = 500
# Half a decade; the likelihood is flat over a whole one.
STEP = 10**0.5
# The penalty times the number of images: where the search starts, about the best for photographs, and how far it goes.
USUAL = 10.0
LOWEST, HIGHEST = 0.1, 1000.0


def choose_l2(features: ArrayLike, labels: ArrayLike, seed: int = 0) -> float:
    """The penalty, as `fit_head` takes it, of largest likelihood in cross-validation, every class weighing the same.

    Args:
        features: [N, D].
        labels: [N] integers.
        seed: which images make which fold, and which are looked at if there are many.

    Raises:
        ArrayError: as `fit_head`.
    """
    x = np.asarray(features)
    if x.ndim != 2 or not x.size:
        raise ArrayError(f"features must have shape [N, D], not {list(x.shape)}")
    y, n_classes = checked_labels(labels, len(x))
    folds = _folds(y, np.random.default_rng(seed))
    chosen = folds >= 0
    n, n_features = x.shape
    x, y, folds = _rotated(x[chosen]), y[chosen], folds[chosen]
    # `fit_head` divides features by their root mean square, which is larger in fewer dimensions.
    unit = x.shape[1] / n_features
    n_held_out = np.bincount(y[folds < N_FOLDS], minlength=n_classes)
    if not n_held_out.any():  # a single image a class
        return float(USUAL / n)
    found: dict[int, NDArray[np.float64]] = {}

    def losses(step: int) -> NDArray[np.float64]:
        if step not in found:
            found[step] = _losses(x, y, folds, n_held_out, USUAL * STEP**step / len(x) * unit)
        return found[step]

    def is_open(step: int) -> bool:
        return LOWEST <= USUAL * STEP**step <= HIGHEST

    at = 0
    # The likelihood has a single maximum: walk to it.
    for direction in (1, -1):
        while is_open(at + direction) and losses(at + direction).sum() < losses(at).sum():
            at += direction
    best = at
    # It is flat: as far up as the images cannot tell from the best.
    while is_open(at + 1) and _within_error(losses(at + 1), losses(best)):
        at += 1
    # What is best for the images of all folds but one, for all images.
    return float(USUAL * STEP**at * (1 - 1 / N_FOLDS) / n)


def _within_error(losses: NDArray[np.float64], best: NDArray[np.float64]) -> bool:
    """Whether the mean of the paired differences is within its standard error."""
    difference = losses - best
    return bool(difference.sum() <= difference.std() * np.sqrt(len(difference)))


def _folds(labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Each image's fold, every class spread over all; -1 not looked at; N_FOLDS never held out, alone in its class."""
    n = len(labels)
    order = rng.permutation(n)
    folds, counts = np.full(n, -1), np.bincount(labels)
    # Of each class as large a part as of all.
    wanted = np.maximum(np.minimum(counts, 2), np.floor(counts * min(1.0, MAX_IMAGES / n))).astype(np.int64)
    next_fold = 0
    for label in np.flatnonzero(counts):
        members = order[labels[order] == label][: wanted[label]]
        if len(members) == 1:
            folds[members] = N_FOLDS
        else:
            folds[members] = (next_fold + np.arange(len(members))) % N_FOLDS
            next_fold += len(members)
    return folds


def _rotated(x: NDArray[np.floating]) -> NDArray[np.float64]:
    """The same points in as many dimensions as they span; heads and penalties are the same, and cheaper."""
    centred = np.asarray(x, np.float64) - x.mean(axis=0, dtype=np.float64)
    if centred.shape[0] >= centred.shape[1]:
        return np.asarray(centred)
    squares, axes = np.linalg.eigh(centred @ centred.T)
    return np.asarray(axes * np.sqrt(np.maximum(squares, 0)))


def _losses(
    x: NDArray[np.float64],
    y: NDArray[np.int64],
    folds: NDArray[np.int64],
    n_held_out: NDArray[np.int64],
    l2: float,
) -> NDArray[np.float64]:
    """The negative log-likelihood of each held-out image, weighted so that classes weigh the same."""
    parts = []
    for fold in range(N_FOLDS):
        held_out = folds == fold
        if held_out.any():
            probs = fit_head(x[~held_out], y[~held_out], l2).probs(x[held_out])
            likelihoods = probs[np.arange(len(probs)), y[held_out]]
            parts.append(-np.log(np.maximum(likelihoods, 1e-300)) / n_held_out[y[held_out]])
    return np.concatenate(parts)
