"""Models that a library of tasks recommends for a task, and the tasks most like it."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from leepfrog.results import Result
from leepfrog.task2vec.distances import symmetric
from leepfrog.task2vec.embedding import Embedding, check_comparable
from leepfrog.task2vec.experts import SelectorResult, by_distance, by_mean, by_model2vec, cross_validate
from leepfrog.task2vec.library import Library, in_units, table_of

Floats = NDArray[np.float64]

SCHEMA_VERSION = 1

# MODEL2VEC is fitted to no more tasks than the nearest so many; those farther off say little, and take their time.
MAX_TASKS = 300


@dataclasses.dataclass(frozen=True)
class NearbyTask:
    """A task of the library: its symmetric distance, and the best model on it if one is known."""

    name: str
    distance: float
    best_model: str | None


@dataclasses.dataclass(frozen=True)
class Expert:
    """A model as it should do on the task.

    Attributes:
        name: of the model.
        expected_regret: its error less the best model's, by the tasks nearby; a fraction.
        mean_regret: the same with all tasks weighing alike.
        probability: of being the best, by MODEL2VEC.
        n_tasks: tasks on which its error is known.
    """

    name: str
    expected_regret: float
    mean_regret: float
    probability: float
    n_tasks: int


@dataclasses.dataclass(frozen=True)
class Recommendation(Result):
    """Models that a library recommends for a task.

    Attributes:
        task: its name.
        noise: how far another sample of it would lie.
        neighbours: the library's tasks, nearest first.
        experts: models, least expected regret first; empty if fewer than two have known errors.
        judged: how each way of choosing does in cross-validation on the library; empty where errors are missing.
    """

    kind: ClassVar = "advice"
    schema_version: ClassVar = SCHEMA_VERSION

    task: str
    noise: float
    neighbours: tuple[NearbyTask, ...]
    experts: tuple[Expert, ...]
    judged: tuple[SelectorResult, ...]


def recommend(task: Embedding, library: Library) -> Recommendation:
    """Find a task's neighbours and experts. The library's own entry of the same vector counts as a neighbour.

    Experts are judged by the MAX_TASKS nearest tasks on which errors are known.

    Raises:
        UsageError: the library is empty.
        EmbeddingError: the task was embedded by another probe than the library's, or a file is damaged.
    """
    whole = library.tasks()
    check_comparable([task, next(library.embeddings())])
    wanted = in_units(task, whole.unit).astype(np.float64)[None]
    distances = symmetric(wanted, whole.vectors)[0]
    models, errors = table_of(library.errors(), whole.names)
    best = [None if not len(row) or np.isnan(row).all() else models[int(np.nanargmin(row))] for row in errors]
    order = np.argsort(distances, kind="stable")
    neighbours = tuple(NearbyTask(whole.names[i], float(distances[i]), best[i]) for i in order)
    known = order[~np.isnan(errors[order]).all(axis=1)][:MAX_TASKS] if models else order[:0]
    experts: list[Expert] = []
    judged: list[SelectorResult] = []
    n_filters = [layer.n_filters for layer in whole.layers]
    if len(models) > 1 and len(known):
        tasks, table = whole.vectors[known].astype(np.float64), errors[known]
        near, mean = (select(tasks, table, wanted, n_filters)[0] for select in (by_distance, by_mean))
        probability = -by_model2vec(tasks, table, wanted, n_filters)[0]
        counts = (~np.isnan(table)).sum(axis=0)
        experts = [
            Expert(model, float(near[i]), float(mean[i]), float(probability[i]), int(counts[i]))
            for i, model in enumerate(models)
        ]
        experts.sort(key=lambda expert: (expert.expected_regret, expert.name))
        complete = ~np.isnan(table).any(axis=1)
        if complete.sum() >= 3:
            judged = cross_validate(tasks[complete], table[complete], n_filters)
    return Recommendation(task.name, task.self_distance, neighbours, tuple(experts), tuple(judged))
