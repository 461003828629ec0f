"""Explanations of LEEP for the report: selected classes of each model, with images."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from pathlib import PurePath

from leepfrog.images.dataset import ImageSet
from leepfrog.ranking.explain import ClassExplanation, Example, Explanation
from leepfrog.report.thumbnails import MOST_BYTES, thumbnails

# With more classes than the sum of these, only the worst and the best are shown.
MOST_WORST, MOST_BEST = 20, 5


@dataclasses.dataclass(frozen=True)
class Picture:
    """An image of a class.

    Attributes:
        name: file name of the image.
        uri: data URI of a thumbnail, or None if the limit on their size is reached or the image is unreadable.
        probability: predicted probability of the image's class.
        taken_for: another class with a higher probability, or "".
    """

    name: str
    uri: str | None
    probability: float
    taken_for: str


@dataclasses.dataclass(frozen=True)
class ShownClass:
    """A class with its most and least certain images."""

    explained: ClassExplanation
    typical: tuple[Picture, ...]
    hard: tuple[Picture, ...]


@dataclasses.dataclass(frozen=True)
class ShownExplanation:
    """The part of an explanation that the report shows.

    Attributes:
        explanation: the whole explanation.
        worst: the classes with the lowest scores, worst first.
        best: the classes with the highest scores, best last; empty if `worst` has all classes.
        n_named: number of images that are shown by name only, without a thumbnail.
    """

    explanation: Explanation
    worst: tuple[ShownClass, ...]
    best: tuple[ShownClass, ...]
    n_named: int

    @property
    def n_left_out(self) -> int:
        """Number of classes that are not shown."""
        return len(self.explanation.classes) - len(self.worst) - len(self.best)


def shown_explanations(
    explanations: Sequence[Explanation], images: ImageSet, most_bytes: int = MOST_BYTES
) -> list[ShownExplanation]:
    """Select classes and create thumbnails.

    Args:
        explanations: explanations on the same images, most important first: thumbnails are assigned in this order.
        images: the images as the models saw them (`HashedImages.image_set`), with the same scaling of deep greys.
        most_bytes: limit on the total size of all thumbnails.
    """
    chosen = [_chosen(explanation.classes) for explanation in explanations]
    positions = [
        example.position
        for worst, best in chosen
        for explained in (*worst, *best)
        for example in (*explained.typical, *explained.hard)
    ]
    uris = iter(thumbnails(images, positions, most_bytes))
    shown = []
    for explanation, (worst, best) in zip(explanations, chosen, strict=True):
        bad, good = (tuple(_shown(explained, uris) for explained in part) for part in (worst, best))
        pictures = [picture for shown_class in (*bad, *good) for picture in (*shown_class.typical, *shown_class.hard)]
        shown.append(ShownExplanation(explanation, bad, good, sum(picture.uri is None for picture in pictures)))
    return shown


def _chosen(
    classes: tuple[ClassExplanation, ...],
) -> tuple[tuple[ClassExplanation, ...], tuple[ClassExplanation, ...]]:
    if len(classes) <= MOST_WORST + MOST_BEST:
        return classes, ()
    return classes[:MOST_WORST], classes[-MOST_BEST:]


def _shown(explained: ClassExplanation, uris: Iterator[str | None]) -> ShownClass:
    def pictures(examples: tuple[Example, ...]) -> tuple[Picture, ...]:
        return tuple(
            Picture(
                name=PurePath(example.name).name,
                uri=next(uris),
                probability=math.exp(example.term),
                taken_for="" if example.taken_for == explained.name else example.taken_for,
            )
            for example in examples
        )

    return ShownClass(explained, pictures(explained.typical), pictures(explained.hard))
