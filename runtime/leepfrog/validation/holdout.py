"""What a validation works on: every model's outputs for the usable images, and splits of these."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from leepfrog.arguments import StrPath
from leepfrog.draws import members_of, shuffled
from leepfrog.errors import DataSetError
from leepfrog.execution.context import RunContext
from leepfrog.execution.outputs import ModelOutputs, Outputs, infer
from leepfrog.images.dataset import ImageSet
from leepfrog.inference.model import ModelFile
from leepfrog.inference.model_lookup import find_inputs
from leepfrog.ranking.notes import absent_scores, lacking
from leepfrog.scoring.definition import Definition
from leepfrog.scoring.sample import FeatureSample, ProbSample

# Two to fit and cross-validate with, two to be judged on.
FEWEST = 4


@dataclasses.dataclass(frozen=True)
class LabelledOutputs:
    """Models' outputs on a set, with the classes that have usable images.

    Attributes:
        outputs: the models'.
        classes: names of the classes.
        labels: of the usable images, [N], in 0..C-1.
    """

    outputs: Outputs
    classes: tuple[str, ...]
    labels: NDArray[np.int64]

    @property
    def files(self) -> list[ModelFile]:
        """The models."""
        return [model_outputs.model for model_outputs in self.outputs]

    @property
    def data(self) -> str:
        """Where the images came from."""
        return self.outputs.hashed.image_set.name

    def samples(self, model_outputs: ModelOutputs) -> tuple[ProbSample | None, FeatureSample]:
        """A model's outputs for all usable images; no predictions where it has none."""
        n_target, has_probs = len(self.classes), model_outputs.model.metadata.has_probs
        return (
            ProbSample(self.labels, n_target, model_outputs.probs()) if has_probs else None,
            FeatureSample(self.labels, n_target, model_outputs.features()),
        )

    def notes(self, scores: Sequence[Definition]) -> tuple[str, ...]:
        """What is odd about the images, and which of the scores some models lack."""
        hashed = self.outputs.hashed
        absent = absent_scores(lacking(self.files), scores)
        return (*hashed.image_set.notes, *self.outputs.notes(), *absent, *hashed.skips())


def labelled_outputs(
    data: ImageSet | StrPath, models: StrPath | Sequence[StrPath], context: RunContext
) -> LabelledOutputs:
    """Run what is not in the cache; the arguments and errors are those of `leepfrog.rank`.

    Raises:
        DataSetError: a class with fewer than FEWEST images.
    """
    images, files = find_inputs(data, models)
    outputs = infer(images, files, context)
    present, labels = np.unique(outputs.hashed.labels, return_inverse=True)
    counts = np.bincount(labels)
    classes = tuple(images.classes[label] for label in present)
    if counts.min() < FEWEST:
        raise DataSetError(
            f"{images.name}: class {classes[int(counts.argmin())]!r} has {counts.min()} usable image(s); a validation "
            f"needs {FEWEST} of each, to fit heads to some and judge them on the others"
        )
    return LabelledOutputs(outputs, classes, labels.astype(np.int64))


def split(labels: NDArray[np.int64], most: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of training images, half of each class but at most about `most` in all, and of all other images.

    Every class keeps its share, and at least 2 on each side.
    """
    share = min(0.5, most / len(labels))
    classes = shuffled(members_of(labels), np.random.default_rng(seed))
    chosen = np.sort(np.concatenate([rows[: min(max(2, round(share * len(rows))), len(rows) - 2)] for rows in classes]))
    return chosen, np.setdiff1d(np.arange(len(labels)), chosen)
