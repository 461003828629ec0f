"""What a validation works on: every model's outputs for the usable images, and splits of these."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from leepfrog.arguments import StrPath
from leepfrog.draws import members_of, shuffled
from leepfrog.errors import DataSetError
from leepfrog.images.dataset import ImageSet
from leepfrog.inference.device import threads_for
from leepfrog.inference.local import find_both
from leepfrog.inference.model import ModelFile
from leepfrog.inference.outputs import Outputs, infer
from leepfrog.progress import Progress
from leepfrog.scoring.sample import FeatureSample, ProbSample

# Two to fit and cross-validate with, two to be judged on.
FEWEST = 4


@dataclasses.dataclass(frozen=True)
class Material:
    """Models and their outputs on a set.

    Attributes:
        files: the models.
        outputs: theirs.
        classes: names of the classes that have usable images.
        labels: of the usable images, [N], in 0..C-1.
    """

    files: list[ModelFile]
    outputs: Outputs
    classes: tuple[str, ...]
    labels: NDArray[np.int64]

    def samples(self, model: int) -> tuple[ProbSample, FeatureSample]:
        """A model's outputs for all usable images."""
        n_target = len(self.classes)
        probs, features = self.outputs.probs(model), self.outputs.features(model)
        return ProbSample(self.labels, n_target, probs), FeatureSample(self.labels, n_target, features)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is odd about the images."""
        return (*self.outputs.images.notes, *self.outputs.notes(), *self.outputs.skips())


def gather(
    data: ImageSet | StrPath,
    models: StrPath | Sequence[StrPath],
    device: str,
    threads: int | None,
    strict: bool,
    progress: Progress,
    cache: StrPath | None = None,
) -> Material:
    """Run what is not in the cache; the arguments and errors are those of `leepfrog.rank`.

    Raises:
        UsageError: no thread to work with.
        DataSetError: a class with fewer than FEWEST images.
    """
    threads = threads_for(device, threads)
    images, files = find_both(data, models)
    outputs = infer(images, files, device, threads, strict, progress, cache=cache)
    present, labels = np.unique(images.labels[outputs.kept], return_inverse=True)
    counts = np.bincount(labels)
    classes = tuple(images.classes[label] for label in present)
    if counts.min() < FEWEST:
        raise DataSetError(
            f"{images.name}: class {classes[int(counts.argmin())]!r} has {counts.min()} usable image(s); a validation "
            f"needs {FEWEST} of each, to fit heads to some and judge them on the others"
        )
    return Material(files, outputs, classes, labels.astype(np.int64))


def split(labels: NDArray[np.int64], most: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of training images, half of each class but at most about `most` in all, and of all other images.

    Every class keeps its share, and at least 2 on each side.
    """
    share = min(0.5, most / len(labels))
    classes = shuffled(members_of(labels), np.random.default_rng(seed))
    chosen = np.sort(np.concatenate([own[: min(max(2, round(share * len(own))), len(own) - 2)] for own in classes]))
    return chosen, np.setdiff1d(np.arange(len(labels)), chosen)
