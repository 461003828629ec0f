"""Model outputs with class labels, and splits into training and held-out images, for validations."""

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

# Minimum images per class: two for fitting and cross-validation, two held out for testing.
FEWEST = 4


@dataclasses.dataclass(frozen=True)
class LabelledOutputs:
    """Outputs of models on an image set, restricted to classes with usable images.

    Attributes:
        outputs: outputs of the models.
        classes: names of the classes with usable images.
        labels: class index of each usable image, [N], in 0..C-1.
    """

    outputs: Outputs
    classes: tuple[str, ...]
    labels: NDArray[np.int64]

    @property
    def files(self) -> list[ModelFile]:
        """The model files."""
        return [model_outputs.model for model_outputs in self.outputs]

    @property
    def data(self) -> str:
        """Source of the images."""
        return self.outputs.hashed.image_set.name

    def samples(self, model_outputs: ModelOutputs) -> tuple[ProbSample | None, FeatureSample]:
        """Return a model's predictions and features for all usable images; None for missing predictions."""
        n_target, has_probs = len(self.classes), model_outputs.model.metadata.has_probs
        return (
            ProbSample(self.labels, n_target, model_outputs.probs()) if has_probs else None,
            FeatureSample(self.labels, n_target, model_outputs.features()),
        )

    def notes(self, scores: Sequence[Definition]) -> tuple[str, ...]:
        """Return notes on irregularities of the images and on scores that some models lack."""
        hashed = self.outputs.hashed
        absent = absent_scores(lacking(self.files), scores)
        return (*hashed.image_set.notes, *self.outputs.notes(), *absent, *hashed.skips())


def labelled_outputs(
    data: ImageSet | StrPath, models: StrPath | Sequence[StrPath], context: RunContext
) -> LabelledOutputs:
    """Run models on images, reusing cached outputs; see `leepfrog.rank` for arguments and further errors.

    Raises:
        DataSetError: a class has fewer than FEWEST usable images.
    """
    images, files = find_inputs(data, models)
    outputs = infer(images, files, context)
    present, labels = np.unique(outputs.hashed.labels, return_inverse=True)
    counts = np.bincount(labels)
    classes = tuple(images.classes[label] for label in present)
    if counts.min() < FEWEST:
        raise DataSetError(
            f"{images.name}: class {classes[int(counts.argmin())]!r} has {counts.min()} usable image(s); a validation "
            f"needs at least {FEWEST} per class, to fit heads on some and test them on the others"
        )
    return LabelledOutputs(outputs, classes, labels.astype(np.int64))


def split(labels: NDArray[np.int64], most: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split images into positions of training and of held-out images, stratified by class.

    The training part is half of the images, or about `most` if that is fewer. Each class has at least 2 images in each
    part.
    """
    share = min(0.5, most / len(labels))
    classes = shuffled(members_of(labels), np.random.default_rng(seed))
    chosen = np.sort(np.concatenate([rows[: min(max(2, round(share * len(rows))), len(rows) - 2)] for rows in classes]))
    return chosen, np.setdiff1d(np.arange(len(labels)), chosen)
