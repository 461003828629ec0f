"""Validation protocol of the LEEP paper: compare scores with accuracies of one model on many tasks from one data set.

Source: Nguyen, Hassner, Seeger, Archambeau, ICML 2020, section 5.1.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import numpy as np
from threadpoolctl import threadpool_limits

from leepfrog.arguments import StrPath, check_seed, several
from leepfrog.errors import DataSetError, UsageError
from leepfrog.execution.context import RunContext
from leepfrog.images.dataset import ImageSet
from leepfrog.inference.model import refuse_without_probs
from leepfrog.ranking.model_scores import scores_readable_from
from leepfrog.receipts.receipt import Receipt
from leepfrog.receipts.recorder import Recorder
from leepfrog.receipts.request import ModelsRequest
from leepfrog.results import MEASURED, Result
from leepfrog.scoring.registry import chosen_scores
from leepfrog.scoring.sample import FeatureSample, ProbSample, Sample
from leepfrog.validation.agreement import within_groups
from leepfrog.validation.choices import IMAGES, TASK_SCORES
from leepfrog.validation.holdout import LabelledOutputs, labelled_outputs, split
from leepfrog.validation.transfer_accuracy import retrained_head

SCHEMA_VERSION = 2

# Baseline that uses only the number of classes: the log of the accuracy of random guessing.
BY_CLASSES = "-log(classes)"

MOST_TASKS = 10_000


@dataclasses.dataclass(frozen=True)
class Task:
    """One task, a selection of classes.

    Attributes:
        classes: names of the classes.
        n_train: number of images for scoring and for fitting the head.
        n_test: number of held-out images.
        accuracy: accuracy of a retrained head on the held-out images, from 0 to 1.
        scores: scores by name; scores whose required output the model does not provide are absent.
    """

    classes: tuple[str, ...]
    n_train: int
    n_test: int
    accuracy: float
    scores: dict[str, float]


@dataclasses.dataclass(frozen=True)
class OverTasks:
    """Correlation of a score with accuracy over tasks.

    Attributes:
        pearson: linear correlation over all tasks; None if the score or the accuracy does not vary.
        kendall: rank correlation over all tasks; None if the score or the accuracy does not vary.
        pearson_within: Pearson correlation among tasks with the same number of classes.
    """

    pearson: float | None
    kendall: float | None
    pearson_within: float | None


@dataclasses.dataclass(frozen=True)
class TaskStudy(Result):
    """Results of one model on many tasks.

    Attributes:
        data: source of the images.
        model: name of the model.
        tasks: tasks in the order in which they were drawn.
        correlations: correlations by score, including the baseline "-log(classes)".
        notes: irregularities and how they were handled.
        receipt: record of how the study was made.
    """

    kind: ClassVar = "tasks"
    schema_version: ClassVar = SCHEMA_VERSION

    data: str = dataclasses.field(metadata=MEASURED)
    model: str
    tasks: tuple[Task, ...]
    correlations: dict[str, OverTasks]
    notes: tuple[str, ...]
    receipt: Receipt = dataclasses.field(metadata=MEASURED)


@dataclasses.dataclass(frozen=True)
class TasksRequest(ModelsRequest):
    """Options of a study of tasks.

    Attributes:
        n_tasks: number of tasks, at least 3.
        scores: names of the scores.
        images: maximum number of training images per task.

    Raises:
        UsageError: a score is unknown or a number is out of range.

    >>> TasksRequest(n_tasks=8, scores=("ridge",)).as_dict()
    {'n_tasks': 8, 'scores': ['ridge'], 'images': 1000}
    """

    command: ClassVar = "tasks"
    n_tasks: int
    scores: tuple[str, ...] = TASK_SCORES
    images: int = IMAGES

    def __post_init__(self) -> None:
        """Check the scores and the ranges of numbers."""
        if self.n_tasks < 3:
            raise UsageError(f"n_tasks must be at least 3 to compute correlations, not {self.n_tasks}")
        if self.n_tasks > MOST_TASKS:
            raise UsageError(f"n_tasks must be at most {MOST_TASKS:,}, not {self.n_tasks}")
        check_seed(self.seed)
        chosen_scores(self.scores)

    def run(self, data: ImageSet | StrPath, models: StrPath | Sequence[StrPath], context: RunContext) -> TaskStudy:
        """Run the study.

        Raises:
            UsageError, DataSetError: see `study_tasks`.
        """
        recorder = Recorder(context)
        context = recorder.context
        labelled = labelled_outputs(data, models, context)
        if len(labelled.files) != 1:
            names = ", ".join(os.fspath(model) for model in several(models))
            raise UsageError(f"a study of tasks takes a single model; {names!r} matches {len(labelled.files)}")
        if not scores_readable_from(chosen_scores(self.scores), labelled.files[0]):
            remedy = "; use a feature-based score instead, such as --score ridge"
            refuse_without_probs(", ".join(self.scores), labelled.files, remedy)
        if len(labelled.classes) < 3:
            raise DataSetError(f"{labelled.data}: a study of tasks needs at least 3 classes")
        tasks = _judged(self, labelled, context)
        return TaskStudy(
            data=labelled.data,
            model=labelled.files[0].name,
            tasks=tasks,
            correlations={name: _over_tasks(tasks, name) for name in tasks[0].scores},
            notes=labelled.notes(chosen_scores(self.scores)),
            receipt=recorder.receipt(self, images=labelled.outputs.hashed, models=labelled.files),
        )


def study_tasks(
    data: ImageSet | StrPath,
    model: StrPath,
    n_tasks: int,
    *,
    scores: str | Sequence[str] = TASK_SCORES,
    images: int = IMAGES,
    seed: int = 0,
    context: RunContext | None = None,
) -> TaskStudy:
    """Score a model on random selections of classes and compare the scores with accuracies of retrained heads.

    Each task draws a number of classes, from 2 to all, and then that many classes. Half of their images, at most about
    `images`, are used for scoring and fitting; the others measure the accuracy.

    Args:
        data: same as for `leepfrog.rank`, with at least 3 classes.
        model: a single model, specified as for `leepfrog.rank`.
        n_tasks: number of tasks, at least 3.
        scores: one or more names of scores.
        images: maximum number of training images per task.
        seed: random seed of classes, splits and folds.
        context: execution environment; None for the CPU of this machine.

    Raises:
        UsageError: not exactly one model, or a number is out of range.
        DataSetError: there are too few classes or images.
        LeepfrogError: see `leepfrog.rank`.

    >>> study = study_tasks("PHOTOS", "mobilenet_v2", n_tasks=8)
    >>> len(study.tasks), sorted(study.correlations)
    (8, ['-log(classes)', 'leep', 'leep_loo'])
    """
    return TasksRequest(n_tasks, several(scores), images, seed=seed).run(data, [model], context or RunContext())


def _judged(request: TasksRequest, labelled: LabelledOutputs, context: RunContext) -> tuple[Task, ...]:
    """Draw tasks, and score and test the model on each."""
    (model_outputs,) = labelled.outputs
    probs, features = labelled.samples(model_outputs)
    chosen = scores_readable_from(chosen_scores(request.scores), model_outputs.model)
    rng = np.random.default_rng(request.seed)
    choices = []
    for _ in range(request.n_tasks):
        count = int(rng.integers(2, len(labelled.classes) + 1))
        choices.append(np.sort(rng.permutation(len(labelled.classes))[:count]))

    def judged(number: int) -> Task:
        drawn = choices[number]
        rows = np.flatnonzero(np.isin(labelled.labels, drawn))
        labels = np.searchsorted(drawn, labelled.labels[rows])
        train, test = split(labels, request.images, request.seed + number)
        predictions = None if probs is None else ProbSample(labels, len(drawn), probs.probs[rows])
        inputs = FeatureSample(labels, len(drawn), features.features[rows])
        fit, held = inputs.part(train), inputs.part(test)
        head = retrained_head(fit, held.features, held.labels, request.seed + number)
        sample = Sample(predictions and predictions.part(train), fit)
        scores = {definition.name: definition.of(sample).value for definition in chosen}
        names = tuple(labelled.classes[label] for label in drawn)
        alone = {BY_CLASSES: -float(np.log(len(drawn)))}
        return Task(names, len(train), len(test), head.accuracy, scores | alone)

    tasks = []
    context.progress.start("tasks", request.n_tasks)
    # Many small fits run in parallel, so multithreaded linear algebra would only oversubscribe the cores.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(context.cores) as pool:
        for task in pool.map(judged, range(request.n_tasks)):
            tasks.append(task)
            context.progress.advance(1)
    return tuple(tasks)


def _over_tasks(tasks: Sequence[Task], name: str) -> OverTasks:
    from scipy import stats

    score = np.array([task.scores[name] for task in tasks])
    truth = np.array([task.accuracy for task in tasks])
    counts = np.array([len(task.classes) for task in tasks])
    if not np.ptp(score) or not np.ptp(truth):
        return OverTasks(None, None, None)
    return OverTasks(
        float(np.corrcoef(score, truth)[0, 1]),
        float(stats.kendalltau(score, truth).statistic),
        within_groups(score, truth, counts),
    )
