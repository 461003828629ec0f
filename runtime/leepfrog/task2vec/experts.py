"""Which models should suit a task, judged by a library's tasks that are like it.

distance   a model's expected regret (its error less the least error of any model) is the mean of its regrets on the
           library's tasks, weighted by exp(-d / s) of their asymmetric distance d to the task; s is the median over the
           library of the distance to the nearest other task
model2vec  a model's probability of being the best, see `leepfrog.task2vec.model2vec`
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from leepfrog.errors import EmbeddingError
from leepfrog.task2vec.distances import asymmetric, prior_of, symmetric
from leepfrog.task2vec.model2vec import fit_model2vec

Floats = NDArray[np.float64]


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
    weights = np.exp(-(distances - distances.min(axis=0)) / max(scale, 1e-6)).T
    regrets = errors - np.nanmin(errors, axis=1, keepdims=True)
    known = ~np.isnan(regrets)
    total = weights @ known
    means: Floats = np.full(total.shape, np.nan)
    np.divide(weights @ np.nan_to_num(regrets), total, out=means, where=total > 0)
    return means


def by_model2vec(tasks: Floats, errors: Floats, wanted: Floats, n_filters: list[int]) -> Floats:
    """Minus each model's probability of being the best on each wanted task, [U, M]; arguments as of `by_distance`."""
    return -fit_model2vec(tasks, errors).probs(wanted)


def by_mean(tasks: Floats, errors: Floats, wanted: Floats, n_filters: list[int]) -> Floats:
    """Each model's mean regret on the library, whatever the task: one expert for all; arguments as of `by_distance`."""
    regrets = np.nanmean(errors - np.nanmin(errors, axis=1, keepdims=True), axis=0)
    return np.repeat(regrets[None], len(wanted), axis=0)


SELECTORS: dict[str, Callable[[Floats, Floats, Floats, list[int]], Floats]] = {
    "distance": by_distance,
    "model2vec": by_model2vec,
    "one for all": by_mean,
}


@dataclasses.dataclass(frozen=True)
class Judged:
    """How well a way of choosing experts does on tasks that it did not see.

    Attributes:
        name: of the way.
        relative_error: mean over tasks of (the chosen model's error / the least error) - 1; tasks that some model does
            without error are left out.
        regret: mean over tasks of the chosen model's error less the least error.
        hits: fraction of tasks on which a best model was chosen.
    """

    name: str
    relative_error: float
    regret: float
    hits: float


def cross_validate(tasks: Floats, errors: Floats, n_filters: list[int], leep: Floats | None = None) -> list[Judged]:
    """Leave each task out in turn, choose a model for it by the others, and see its error.

    Args:
        tasks: embeddings [T, F].
        errors: of each model on each task [T, M], all known.
        n_filters: of each layer.
        leep: LEEP of each model on each task [T, M], which needs no other tasks; None leaves it out.

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
    found = {}
    for name, select in SELECTORS.items():
        chosen = np.empty(n_tasks, np.int64)
        for t in range(n_tasks):
            others = np.arange(n_tasks) != t
            chosen[t] = np.nanargmin(select(tasks[others], errors[others], tasks[[t]], n_filters)[0])
        found[name] = _judge(name, errors, np.eye(n_models)[chosen])
    if leep is not None:
        found["LEEP"] = _judge("LEEP", errors, np.eye(n_models)[leep.argmax(axis=1)])
    found["chance"] = _judge("chance", errors, np.full((n_tasks, n_models), 1 / n_models))
    return list(found.values())


def _judge(name: str, errors: Floats, chosen: Floats) -> Judged:
    """`chosen` [T, M]: with what probability each model is taken."""
    best = errors.min(axis=1)
    own = (errors * chosen).sum(axis=1)
    some = best > 0
    return Judged(
        name,
        float((own[some] / best[some] - 1).mean()) if some.any() else float("nan"),
        float((own - best).mean()),
        float((chosen * (errors == best[:, None])).sum(axis=1).mean()),
    )
