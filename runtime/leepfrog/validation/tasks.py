"""The protocol of LEEP's paper: one model, many tasks out of one labelled set, score against accuracy.

Source: Nguyen, Hassner, Seeger, Archambeau, ICML 2020, section 5.1.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from leepfrog.arguments import StrPath, check_seed, several
from leepfrog.errors import DataSetError, UsageError
from leepfrog.images.dataset import ImageSet
from leepfrog.inference.device import threads_for
from leepfrog.progress import Progress, Silent
from leepfrog.receipts.receipt import Receipt
from leepfrog.receipts.take import Stopwatch
from leepfrog.scoring.registry import chosen_scores
from leepfrog.scoring.sample import FeatureSample, ProbSample, Sample
from leepfrog.validation.agreement import within_groups
from leepfrog.validation.choices import IMAGES
from leepfrog.validation.material import gather, split
from leepfrog.validation.truth import retrained_head

SCHEMA_VERSION = 2

# What the number of classes alone says: a guess is right once in so many times.
BY_CLASSES = "-log(classes)"

MOST_TASKS = 10_000


@dataclasses.dataclass(frozen=True)
class Task:
    """One choice of classes.

    Attributes:
        classes: their names.
        n_train, n_test: images that score and head see, and that are held out.
        accuracy: of a retrained head on the latter, from 0 to 1.
        scores: by name.
    """

    classes: tuple[str, ...]
    n_train: int
    n_test: int
    accuracy: float
    scores: dict[str, float]


@dataclasses.dataclass(frozen=True)
class OverTasks:
    """How a score goes with accuracy over tasks.

    Attributes:
        pearson, kendall: over all tasks; None where the score or the truth does not vary.
        pearson_within: Pearson's correlation among tasks with the same number of classes.
    """

    pearson: float | None
    kendall: float | None
    pearson_within: float | None


@dataclasses.dataclass(frozen=True)
class TaskStudy:
    """Many tasks of one model.

    Attributes:
        data, model: of what.
        tasks: in the order they were drawn.
        correlations: by score; BY_CLASSES among them.
        notes: what was odd.
        receipt: what made it.
    """

    data: str
    model: str
    tasks: tuple[Task, ...]
    correlations: dict[str, OverTasks]
    notes: tuple[str, ...]
    receipt: Receipt

    def as_dict(self) -> dict[str, Any]:
        """The study as JSON-ready values, with its schema's version."""
        found = {"schema_version": SCHEMA_VERSION, "kind": "tasks", **dataclasses.asdict(self)}
        return {**found, "receipt": self.receipt.as_dict()}


def study_tasks(
    data: ImageSet | StrPath,
    model: StrPath,
    n_tasks: int,
    *,
    scores: str | Sequence[str] = ("leep", "leep_loo"),
    images: int = IMAGES,
    device: str = "cpu",
    threads: int | None = None,
    strict: bool = False,
    seed: int = 0,
    cache: StrPath | None = None,
    progress: Progress | None = None,
) -> TaskStudy:
    """Score a model on random choices of classes, and hold the scores against its retrained heads' accuracies.

    Each task draws a number of classes, from 2 to all, then so many classes; half of their images, at most `images`,
    are scored and fitted to, the others judge.

    Args:
        data: as of `leepfrog.rank`, with at least 3 classes.
        model: one, as of `leepfrog.rank`.
        n_tasks: how many, at least 3.
        scores: by name.
        images: the most training images of a task.
        device: its name, such as "cpu" (see `leepfrog.inference.devices`).
        threads: cores to use; None for all.
        strict: make a bad image an error.
        seed: of classes, splits and folds.
        cache: folder that keeps the models' outputs; None for leepfrog's own.
        progress: who is told how far the work is.

    Raises:
        UsageError: not one model, or a number out of range.
        DataSetError: too few classes or images.
        LeepfrogError: as of `leepfrog.rank`.
    """
    if n_tasks < 3:
        raise UsageError(f"a correlation over tasks needs at least 3, not {n_tasks}")
    scores = several(scores)
    if n_tasks > MOST_TASKS:
        raise UsageError(f"n_tasks must be at most {MOST_TASKS:,}, not {n_tasks}")
    check_seed(seed)
    chosen = chosen_scores(scores)
    progress, threads = Stopwatch(progress or Silent()), threads_for(device, threads)
    material = gather(data, [model], device, threads, strict, progress, cache)
    if len(material.files) != 1:
        raise UsageError(f"a study of tasks is of one model; {os.fspath(model)!r} names {len(material.files)}")
    if len(material.classes) < 3:
        raise DataSetError(f"{material.outputs.images.name}: tasks of other classes need at least 3 classes")
    probs, features = material.samples(0)
    rng = np.random.default_rng(seed)
    choices = []
    for _ in range(n_tasks):
        count = int(rng.integers(2, len(material.classes) + 1))
        choices.append(np.sort(rng.permutation(len(material.classes))[:count]))

    def judged(number: int) -> Task:
        drawn = choices[number]
        rows = np.flatnonzero(np.isin(material.labels, drawn))
        labels = np.searchsorted(drawn, material.labels[rows])
        train, test = split(labels, images, seed + number)
        predictions = ProbSample(labels, len(drawn), probs.probs[rows])
        inputs = FeatureSample(labels, len(drawn), features.features[rows])
        fit, held = inputs.part(train), inputs.part(test)
        head = retrained_head(fit, held.features, held.labels, seed + number)
        sample = Sample(predictions.part(train), fit)
        found = {each.name: each.of(sample).value for each in chosen}
        names = tuple(material.classes[label] for label in drawn)
        alone = {BY_CLASSES: -float(np.log(len(drawn)))}
        return Task(names, len(train), len(test), head.accuracy, found | alone)

    tasks = []
    progress.start("tasks", n_tasks)
    # Many small fits side by side: linear algebra with threads of its own would only be in their way.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        for task in pool.map(judged, range(n_tasks)):
            tasks.append(task)
            progress.advance(1)
    return TaskStudy(
        data=material.outputs.images.name,
        model=material.files[0].name,
        tasks=tuple(tasks),
        correlations={name: _over_tasks(tasks, name) for name in tasks[0].scores},
        notes=material.notes,
        receipt=progress.receipt(
            "tasks",
            {"n_tasks": n_tasks, "scores": list(scores), "images": images, "strict": strict, "device": device},
            outputs=material.outputs,
            models=material.files,
            device=device,
            threads=threads,
            seed=seed,
        ),
    )


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
