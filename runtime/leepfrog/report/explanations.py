"""Why models get their LEEP, as a page shows it: the classes worth a look, with images."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from pathlib import PurePath

from leepfrog.images.dataset import ImageSet
from leepfrog.ranking.explain import ClassExplanation, Example, Explanation
from leepfrog.report.thumbnails import MOST_BYTES, thumbnails

# Of more classes than these together, the worst and the best are shown.
MOST_WORST, MOST_BEST = 20, 5


@dataclasses.dataclass(frozen=True)
class Picture:
    """An image of a class.

    Attributes:
        name: of its file.
        uri: a small copy, None where there was no room.
        probability: that its class gets.
        taken_for: another class that gets more, "" for none.
    """

    name: str
    uri: str | None
    probability: float
    taken_for: str


@dataclasses.dataclass(frozen=True)
class ShownClass:
    """A class with its pictures."""

    explained: ClassExplanation
    typical: tuple[Picture, ...]
    hard: tuple[Picture, ...]


@dataclasses.dataclass(frozen=True)
class ShownExplanation:
    """What a page shows of an explanation.

    Attributes:
        explanation: of what.
        worst: the classes that score worst, the worst first.
        best: where not all are shown, those that score best, the best last.
        n_named: pictures that are named only, since there was no room.
    """

    explanation: Explanation
    worst: tuple[ShownClass, ...]
    best: tuple[ShownClass, ...]
    n_named: int

    @property
    def n_left_out(self) -> int:
        """Classes that are not shown."""
        return len(self.explanation.classes) - len(self.worst) - len(self.best)


def shown_explanations(
    explanations: Sequence[Explanation], images: ImageSet, most_bytes: int = MOST_BYTES
) -> list[ShownExplanation]:
    """Choose classes and make thumbnails.

    Args:
        explanations: of the same images, the most important first: it gets thumbnails first.
        images: the set as the models saw it (`HashedImages.image_set`), so that deep greys are as bright as for them.
        most_bytes: of all thumbnails together.
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
