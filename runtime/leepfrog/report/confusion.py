"""Confusion of classes by a linear head on the best model's features, for the report."""

from __future__ import annotations

import dataclasses

import numpy as np

from leepfrog.execution.outputs import ModelOutputs
from leepfrog.scoring.sample import FeatureSample
from leepfrog.scoring.scores.linear_probe import held_out_probe
from leepfrog.scoring.subsample import MOST_IMAGES, drawn_in_proportion
from leepfrog.tables import Table

# With more classes, the most frequent confusions are listed instead of a matrix.
MOST_CLASSES, MOST_PAIRS = 12, 15


@dataclasses.dataclass(frozen=True)
class Confusion:
    """Held-out predictions of a linear head, counted by class.

    Attributes:
        model: name of the model.
        classes: names of the classes that have images.
        counts: number of images of each class (first axis) that are predicted as each class, [C, C].
    """

    model: str
    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    @property
    def correct(self) -> int:
        """Number of images with a correct prediction."""
        return sum(row[i] for i, row in enumerate(self.counts))

    @property
    def total(self) -> int:
        """Number of images."""
        return sum(map(sum, self.counts))

    @property
    def is_small(self) -> bool:
        """Whether the matrix has few enough classes to be shown."""
        return len(self.classes) <= MOST_CLASSES

    def share(self, row: int, column: int) -> float:
        """Return the fraction of the images of a class that are predicted as another."""
        return self.counts[row][column] / max(sum(self.counts[row]), 1)

    def pairs(self) -> Table:
        """Return the most frequent confusions as a table, the most frequent first."""
        found = [
            (count, i, j) for i, row in enumerate(self.counts) for j, count in enumerate(row) if count and i != j
        ]  # fmt: skip
        found.sort(key=lambda pair: (-pair[0], pair[1:]))
        rows = [
            (self.classes[i], self.classes[j], f"{count:,}", f"{100 * self.share(i, j):.0f}")
            for count, i, j in found[:MOST_PAIRS]
        ]
        return Table(("class", "predicted as", "images", "% of the class"), rows, (False, False, True, True))


def confusion_of(outputs: ModelOutputs) -> Confusion:
    """Return the confusion of classes by the cross-validated head of `linear_probe`, on at most MOST_IMAGES images."""
    images = outputs.hashed
    drawn = drawn_in_proportion(images.labels, MOST_IMAGES)
    used, labels = np.flatnonzero(images.used)[drawn], images.labels[drawn]
    held_out = held_out_probe(FeatureSample.of(labels, outputs.features(used)))
    present, codes = np.unique(labels, return_inverse=True)
    counts = np.zeros((len(present), len(present)), int)
    np.add.at(counts, (codes, held_out.logits.argmax(axis=1)), 1)
    classes = tuple(images.image_set.classes[i] for i in present)
    return Confusion(outputs.model.name, classes, tuple(map(tuple, counts.tolist())))
