"""Select models for a task based on errors on similar tasks in a library.

distance     a model's expected regret (its error minus the lowest error of any model) is the mean of its regrets on the
             library's tasks, weighted by exp(-d / s) with d the asymmetric distance to the task and s SHARE times the
             median, over the library, of the distance to the nearest other task
model2vec    a model's probability of being the best, see `leepfrog.task2vec.model2vec`
one for all  a model's mean regret on the library, independent of the task
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from leepfrog.errors import EmbeddingError
from leepfrog.task2vec.distances import asymmetric, prior_of, symmetric
from leepfrog.task2vec.model2vec import fit_model2vec

Floats = NDArray[np.float64]

# On 100 sub-tasks of four image sets and 8 models (bench_experts.py), 1/10, 1/4, 1/2, 1 and 2 gave a regret of 1.8,
# 1.6, 1.6, 1.7 and 1.8 % when single tasks were held out, and 3.7, 3.7, 3.5, 4.5 and 5.1 % when whole data sets were.
SHARE = 0.5
MAX_PARTS = 10


def by_distance(tasks: Floats, errors: Floats, wanted: Floats, n_filters: list[int]) -> Floats:
    """Compute the expected regret of each model on each wanted task, [U, M]; NaN for models without known errors.

    Args:
        tasks: embeddings of the library's tasks, [T, F].
        errors: errors of models on these tasks, [T, M], NaN where unknown.
        wanted: embeddings of the wanted tasks, [U, F].
        n_filters: number of filters of each layer.
    """
    prior = prior_of(tasks, n_filters)
    distances = asymmetric(tasks, wanted, prior)
    among = symmetric(tasks)
    np.fill_diagonal(among, np.inf)
    scale = float(np.median(among.min(axis=1))) if len(tasks) > 1 else 1.0
    weights = np.exp(-(distances - distances.min(axis=0)) / max(SHARE * scale, 1e-6)).T
    regrets = errors - np.nanmin(errors, axis=1, keepdims=True)
    known = ~np.isnan(regrets)
    total = weights @ known
    means: Floats = np.full(total.shape, np.nan)
    np.divide(weights @ np.nan_to_num(regrets), total, out=means, where=total > 0)
    return means


def by_model2vec(tasks: Floats, errors: Floats, wanted: Floats, n_filters: list[int]) -> Floats:
    """Return the negative probability that each model is the best on each wanted task, [U, M]; see `by_distance`."""
    return -fit_model2vec(tasks, errors).probs(wanted)


def by_mean(tasks: Floats, errors: Floats, wanted: Floats, n_filters: list[int]) -> Floats:
    """Compute each model's mean regret on the library, which ignores the wanted task, [U, M]; see `by_distance`."""
    regrets = np.nanmean(errors - np.nanmin(errors, axis=1, keepdims=True), axis=0)
    return np.repeat(regrets[None], len(wanted), axis=0)


SELECTORS: dict[str, Callable[[Floats, Floats, Floats, list[int]], Floats]] = {
    "distance": by_distance,
    "model2vec": by_model2vec,
    "one for all": by_mean,
}


@dataclasses.dataclass(frozen=True)
class SelectorResult:
    """Performance of a selector on held-out tasks.

    Attributes:
        name: name of the selector.
        relative_error: mean over tasks of (chosen model's error / lowest error) - 1, excluding tasks whose lowest error
            is 0.
        regret: mean over tasks of the chosen model's error minus the lowest error.
        hits: fraction of tasks on which a best model was chosen.
    """

    name: str
    relative_error: float
    regret: float
    hits: float


def cross_validate(
    tasks: Floats,
    errors: Floats,
    n_filters: list[int],
    others: Mapping[str, Floats] | None = None,
    groups: NDArray[np.int64] | None = None,
) -> list[SelectorResult]:
    """Cross-validate the selectors: choose a model for each held-out task from the other tasks and record its error.

    Args:
        tasks: embeddings of the tasks, [T, F].
        errors: errors of each model on each task, [T, M], all known.
        n_filters: number of filters of each layer.
        others: competing methods that need no other tasks, such as LEEP, by name: scores of each model on each task,
            [T, M], higher is better.
        groups: group of each task, [T], such as its data set; a group is held out as a whole. None splits the tasks
            into at most MAX_PARTS groups.

    Returns:
        One result per selector and competing method, followed by chance, the mean over models.

    Raises:
        EmbeddingError: there are fewer than three tasks or two models, or errors are unknown.
    """
    n_tasks, n_models = errors.shape
    if n_tasks < 3 or n_models < 2 or np.isnan(errors).any():
        raise EmbeddingError(
            "cross-validation needs at least 3 tasks and 2 models, and every model's error on every task"
        )
    groups = np.arange(n_tasks) % MAX_PARTS if groups is None else groups
    results = {}
    for name, select in SELECTORS.items():
        chosen = np.empty(n_tasks, np.int64)
        for group in np.unique(groups):
            held_out = groups == group
            chosen[held_out] = np.nanargmin(
                select(tasks[~held_out], errors[~held_out], tasks[held_out], n_filters), axis=1
            )
        results[name] = _selector_result(name, errors, np.eye(n_models)[chosen])
    for name, scores in (others or {}).items():
        results[name] = _selector_result(name, errors, np.eye(n_models)[scores.argmax(axis=1)])
    results["chance"] = _selector_result("chance", errors, np.full((n_tasks, n_models), 1 / n_models))
    return list(results.values())


def _selector_result(name: str, errors: Floats, chosen: Floats) -> SelectorResult:
    """Evaluate a selector that chooses models with the probabilities `chosen` [T, M]."""
    best = errors.min(axis=1)
    chosen_errors = (errors * chosen).sum(axis=1)
    positive = best > 0
    return SelectorResult(
        name,
        float((chosen_errors[positive] / best[positive] - 1).mean()) if positive.any() else float("nan"),
        float((chosen_errors - best).mean()),
        float((chosen * (errors == best[:, None])).sum(axis=1).mean()),
    )
