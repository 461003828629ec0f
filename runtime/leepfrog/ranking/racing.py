"""Racing: drop models early that are clearly behind on a sample of the images.

After O. Maron, A. Moore, "Hoeffding races" (NIPS 1993), with the standard error of paired differences as the bound.
All models are judged on the same growing stratified sample of images. A model is dropped when it is behind the leader
by more than ERRORS standard errors of the mean per-image difference. The deciding score must be held out, that is, no
image may contribute to its own prediction: plain LEEP is biased upwards, more so for models with many source classes
and for few images, so small samples would favour the wrong models.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from leepfrog.draws import members_of, shuffled
from leepfrog.errors import UsageError
from leepfrog.ranking.combined import COMBINED
from leepfrog.ranking.decision import Decision, Rule
from leepfrog.scoring.registry import SCORES
from leepfrog.scoring.uncertainty import standard_error

Judge = Callable[[list[int], NDArray[np.int64]], "Standing"]

RACEABLE = (COMBINED, *(name for name, score in SCORES.items() if score.held_out))

ERRORS = 3.0
# Size of the first sample, if that many images are available; with fewer, standard errors are unreliable.
FIRST_IMAGES, FIRST_PER_CLASS = 50, 5
GROWTH = 2


@dataclasses.dataclass(frozen=True)
class Standing:
    """Standing of models on a sample of images.

    Attributes:
        n_images: number of images in the sample.
        best: index of the leader.
        deficits: score deficit of each model against the leader.
        errors: standard errors of the deficits; None where unknown.
    """

    n_images: int
    best: int
    deficits: list[float]
    errors: list[float | None]

    @classmethod
    def of(cls, decision: Decision, labels: NDArray[np.int64]) -> Standing:
        """Compute standings by the deciding score, from paired terms or joint draws of expected accuracies."""
        values = [score.value for score in decision.deciding]
        best = int(np.argmax(values))
        if decision.expected is not None:
            draws = decision.expected.draws
            errors: list[float | None] = (draws[:, [best]] - draws).std(axis=0).tolist()
        else:
            terms = [score.terms for score in decision.deciding]
            errors = [standard_error(terms[best] - of_model, labels) for of_model in terms]
        return cls(len(labels), best, [values[best] - value for value in values], errors)


@dataclasses.dataclass(frozen=True)
class Dropped:
    """A model that was dropped from a race.

    Attributes:
        model: name of the model.
        n_images: number of images that the model had seen.
        leader: name of the best model on these images.
        deficit: score of the leader minus score of the model on these images.
        standard_error: standard error of the deficit, with images paired.
    """

    model: str
    n_images: int
    leader: str
    deficit: float
    standard_error: float


@dataclasses.dataclass(frozen=True)
class Race:
    """Record of a race: the savings and the risk.

    Attributes:
        n_models: number of models of a full run.
        n_images: number of images of a full run.
        samples: sizes of the samples; the last is the number of all images.
        dropped: models that did not see all images, in the order in which they were dropped.
        outside: names of models that did not start because they exceed the budget, with the exceeded limits.
        passes: number of forward passes of single images, including those served from the cache.
        passes_of_full_run: number of forward passes without racing.
        errors: number of standard errors by which dropped models had to be behind.
        risk: upper bound on the probability that noise eliminated the best model of the full run; one normal tail per
            comparison.
    """

    n_models: int
    n_images: int
    samples: tuple[int, ...]
    dropped: tuple[Dropped, ...]
    outside: tuple[tuple[str, tuple[str, ...]], ...]
    passes: int
    passes_of_full_run: int
    errors: float
    risk: float


def check_raceable(rule: Rule) -> None:
    """Raise UsageError if models cannot be raced by the deciding score."""
    if rule.by is not None and rule.by not in RACEABLE:
        raise UsageError(
            f"models cannot be raced by {rule.by}: it is not a held-out score, so small samples are biased; choose one "
            f"of {', '.join(RACEABLE)}"
        )


def run_race(names: Sequence[str], labels: NDArray[np.int64], judge: Judge) -> tuple[list[int], Race]:
    """Drop models on growing samples until the next sample would be all images.

    Args:
        names: names of the models.
        labels: class index of each usable image, [N].
        judge: function that returns the standing of some models on images at ascending positions; it may exclude
            images, the same for all models.

    Returns:
        Indices of the remaining models, which have not seen all images yet, and the record of the race.
    """
    order, alive = growing(labels), list(range(len(names)))
    dropped: list[Dropped] = []
    samples: list[int] = []
    n, passes, comparisons = first_sample(labels, order), 0, 0
    seen = 0
    while n < len(labels) and len(alive) > 1:
        standing = judge(alive, np.sort(order[:n]))
        samples.append(n)
        passes += len(alive) * (n - seen)
        seen = n
        comparisons += len(alive) - 1
        left = []
        for model, deficit, error in zip(alive, standing.deficits, standing.errors, strict=True):
            if error is not None and deficit > ERRORS * error:
                leader = names[alive[standing.best]]
                dropped.append(Dropped(names[model], standing.n_images, leader, deficit, error))
            else:
                left.append(model)
        alive = left
        n = round(n * GROWTH)
    samples.append(len(labels))
    passes += len(alive) * (len(labels) - seen)
    tail = math.erfc(ERRORS / math.sqrt(2)) / 2
    what_happened = Race(
        n_models=len(names),
        n_images=len(labels),
        samples=tuple(samples),
        dropped=tuple(dropped),
        outside=(),
        passes=passes,
        passes_of_full_run=len(names) * len(labels),
        errors=ERRORS,
        risk=min(1.0, comparisons * tail),
    )
    return alive, what_happened


def growing(labels: NDArray[np.int64], seed: int = 0) -> NDArray[np.int64]:
    """Return a random order of images [N] in which every prefix has all classes in proportion."""
    rng = np.random.default_rng(seed)
    sort_keys = np.empty(len(labels))
    members = members_of(np.unique(labels, return_inverse=True)[1])
    classes = shuffled(members, rng)
    for n in map(len, members):
        start = rng.uniform()
        sort_keys[next(classes)] = (np.arange(n) + start) / n
    return np.argsort(sort_keys, kind="stable")


def first_sample(labels: NDArray[np.int64], order: NDArray[np.int64]) -> int:
    """Return the size of the first sample: enough for standard errors, with at least two classes of two images."""
    n = max(FIRST_IMAGES, FIRST_PER_CLASS * len(np.unique(labels)))
    while n < len(labels) and np.count_nonzero(np.bincount(labels[order[:n]]) >= 2) < 2:
        n = round(n * GROWTH)
    return n
