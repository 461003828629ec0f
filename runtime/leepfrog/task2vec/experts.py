"""Which models should suit a task, judged by a library's tasks that are like it.

distance   a model's expected regret (its error less the least error of any model) is the mean of its regrets on the
           library's tasks, weighted by exp(-d / s) of their asymmetric distance d to the task; s is SHARE of the median
           over the library of the distance to the nearest other task
model2vec  a model's probability of being the best, see `leepfrog.task2vec.model2vec`
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
# 1.6, 1.6, 1.7 and 1.8 % with single tasks left out, and 3.7, 3.7, 3.5, 4.5 and 5.1 % with their whole data set.
SHARE = 0.5
MAX_PARTS = 10


def by_distance(tasks: Floats, errors: Floats, wanted: Floats, n_filters: list[int]) -> Floats:
    """Expected regret of each model on each wanted task, [U, M]; NaN for a model without any known error.

    Args:
        tasks: the library's embeddings [T, F].
        errors: of models on them [T, M], NaN where unknown.
        wanted: embeddings [U, F].
        n_filters: of each layer.
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
    """Minus each model's probability of being the best on each wanted task, [U, M]; arguments: see `by_distance`."""
    return -fit_model2vec(tasks, errors).probs(wanted)


def by_mean(tasks: Floats, errors: Floats, wanted: Floats, n_filters: list[int]) -> Floats:
    """Each model's mean regret on the library, whatever the task: one expert for all; arguments: see `by_distance`."""
    regrets = np.nanmean(errors - np.nanmin(errors, axis=1, keepdims=True), axis=0)
    return np.repeat(regrets[None], len(wanted), axis=0)


SELECTORS: dict[str, Callable[[Floats, Floats, Floats, list[int]], Floats]] = {
    "distance": by_distance,
    "model2vec": by_model2vec,
    "one for all": by_mean,
}


@dataclasses.dataclass(frozen=True)
class SelectorResult:
    """How well a way of choosing experts does on held-out tasks.

    Attributes:
        name: of the selector.
        relative_error: mean over tasks of (the chosen model's error / the least error) - 1; tasks that some model does
            without error are left out.
        regret: mean over tasks of the chosen model's error less the least error.
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
    """Leave tasks out in turn, choose a model for each by the others, and see its error.

    Args:
        tasks: embeddings [T, F].
        errors: of each model on each task [T, M], all known.
        n_filters: of each layer.
        others: rivals that need no other tasks, such as LEEP, by name: a score of each model on each task [T, M], the
            higher the better.
        groups: of each task [T], such as its data set: a group is left out as a whole. None makes MAX_PARTS groups, or
            one of each task if there are no more.

    Returns:
        One row a way of choosing, chance among them: the mean over models.

    Raises:
        EmbeddingError: fewer than three tasks or two models, or unknown errors.
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
    """`chosen` [T, M]: with what probability each model is taken."""
    best = errors.min(axis=1)
    chosen_errors = (errors * chosen).sum(axis=1)
    positive = best > 0
    return SelectorResult(
        name,
        float((chosen_errors[positive] / best[positive] - 1).mean()) if positive.any() else float("nan"),
        float((chosen_errors - best).mean()),
        float((chosen * (errors == best[:, None])).sum(axis=1).mean()),
    )
