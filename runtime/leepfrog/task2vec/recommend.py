"""Recommend models for a task from a library of tasks, and list the most similar tasks."""

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

# Experts are judged by at most this many nearest tasks; tasks farther away add little and take time.
MAX_TASKS = 300


@dataclasses.dataclass(frozen=True)
class NearbyTask:
    """A task of the library compared with the given task.

    Attributes:
        name: name of the task.
        distance: symmetric distance to the given task.
        best_model: name of the model with the lowest error on it; None if no error is known.
    """

    name: str
    distance: float
    best_model: str | None


@dataclasses.dataclass(frozen=True)
class Expert:
    """Predicted performance of a model on the task.

    Attributes:
        name: name of the model.
        expected_regret: predicted error minus the best model's error, weighting nearby tasks more; a fraction.
        mean_regret: the same with equal weights for all tasks; a fraction.
        probability: probability that the model is the best, predicted by MODEL2VEC.
        n_tasks: number of tasks on which the model's error is known.
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
        task: name of the task.
        noise: approximate symmetric distance to another embedding of the same task.
        neighbours: the library's tasks, nearest first.
        experts: models, lowest expected regret first; empty if fewer than two have known errors.
        judged: cross-validation results of each selector on the library; empty if fewer than three tasks have the
            errors of all models.
    """

    kind: ClassVar = "advice"
    schema_version: ClassVar = SCHEMA_VERSION

    task: str
    noise: float
    neighbours: tuple[NearbyTask, ...]
    experts: tuple[Expert, ...]
    judged: tuple[SelectorResult, ...]


def recommend(task: Embedding, library: Library) -> Recommendation:
    """Find a task's nearest neighbours in a library and the models expected to do best on it.

    If the library contains the task itself, it counts as a neighbour. Models are judged by the MAX_TASKS nearest tasks
    with known errors.

    Raises:
        UsageError: the library is empty.
        EmbeddingError: the task was embedded by a different probe than the library's, or a file is damaged.
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
