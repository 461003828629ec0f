"""Racing: models that are clearly behind on some of the images do not see the others.

After O. Maron, A. Moore, "Hoeffding races" (NIPS 1993), with the standard error of paired differences for the bound.
All models are judged on the same growing sample of images, each class its share, and a model leaves when it is behind
the leader, image by image, by more than ERRORS standard errors. The chosen score has to be one whose terms leave the
image out of what predicts it: plain LEEP flatters models, and the more so the more source classes they have and the
fewer the images, so that small samples would favour the wrong ones.
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
# The first sample, as far as there are so many images: standard errors of fewer are guesses.
FIRST_IMAGES, FIRST_PER_CLASS = 50, 5
GROWTH = 2


@dataclasses.dataclass(frozen=True)
class Standing:
    """How models stand on a sample of images.

    Attributes:
        n_images: that were judged.
        best: place of the leader.
        deficits: how far each model is behind the leader.
        errors: the deficits' standard errors; None where they are not known.
    """

    n_images: int
    best: int
    deficits: list[float]
    errors: list[float | None]

    @classmethod
    def of(cls, decision: Decision, labels: NDArray[np.int64]) -> Standing:
        """By what decides the order: image by image, or by the joint distribution of expected accuracies."""
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
    """A model that left a race.

    Attributes:
        model: its name.
        n_images: how many images it had seen.
        leader: the name of the best model on these.
        deficit: the leader's score less its own, on these images.
        standard_error: of that difference, the same images for both.
    """

    model: str
    n_images: int
    leader: str
    deficit: float
    standard_error: float


@dataclasses.dataclass(frozen=True)
class Race:
    """What racing saved and what it risked.

    Attributes:
        n_models, n_images: what a full run would have been.
        samples: the sizes of the samples, the last of them all images.
        dropped: the models that did not see all images, in the order in which they left.
        outside: models that break the budget and did not start, by name, with the limits that they break.
        passes: images through models, those from the cache counted as well.
        passes_of_full_run: the same without racing.
        errors: how many standard errors behind a model had to be.
        risk: at most so large is the chance that noise put the best model of the full run out: a normal tail for each
            comparison made.
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
    """UsageError where models cannot be raced by what decides their order."""
    if rule.by is not None and rule.by not in RACEABLE:
        raise UsageError(
            f"models cannot be raced by {rule.by}, which does not leave images out one by one, so that small samples "
            f"favour other models than large ones; one of {', '.join(RACEABLE)}"
        )


def run_race(names: Sequence[str], labels: NDArray[np.int64], judge: Judge) -> tuple[list[int], Race]:
    """Drop models until all images are needed to tell the others apart.

    Args:
        names: the models.
        labels: classes of the images that can be used, [N].
        judge: given models and positions of images, ascending, how the models stand; it may leave images out, the same
            for all models.

    Returns:
        The models that are left, and what happened. They have not seen all images yet.
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
    """An order of images [N] each beginning of which holds every class in proportion, at random within a class."""
    rng = np.random.default_rng(seed)
    sort_keys = np.empty(len(labels))
    members = members_of(np.unique(labels, return_inverse=True)[1])
    classes = shuffled(members, rng)
    for n in map(len, members):
        start = rng.uniform()
        sort_keys[next(classes)] = (np.arange(n) + start) / n
    return np.argsort(sort_keys, kind="stable")


def first_sample(labels: NDArray[np.int64], order: NDArray[np.int64]) -> int:
    """How many images a race starts with: enough for standard errors, and two classes of two images at least."""
    n = max(FIRST_IMAGES, FIRST_PER_CLASS * len(np.unique(labels)))
    while n < len(labels) and np.count_nonzero(np.bincount(labels[order[:n]]) >= 2) < 2:
        n = round(n * GROWTH)
    return n
