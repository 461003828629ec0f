"""Why a model gets its LEEP: which source classes carry each target class, and what it is taken for."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from leepfrog.arguments import StrPath
from leepfrog.errors import UsageError
from leepfrog.execution.context import RunContext
from leepfrog.execution.outputs import ModelOutputs, Outputs, infer
from leepfrog.images.dataset import Digest, ImageSet
from leepfrog.inference.model import refuse_without_probs
from leepfrog.inference.model_lookup import find_inputs
from leepfrog.receipts.recorder import Recorder
from leepfrog.results import Result
from leepfrog.scoring.sample import ProbSample
from leepfrog.scoring.scores.leep_loo import score_leep_loo

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

SCHEMA_VERSION = 1

# Images of each class to name as typical, and as hard.
EXAMPLES = 2

# Images looked at in one matrix.
BLOCK = 2048


@dataclasses.dataclass(frozen=True)
class Carrier:
    """A source class's part in predicting a target class.

    Attributes:
        name: the source class, or its number where the model does not say names.
        index: its place in the model's output.
        share: of the probability that images of the target class get for it, the part that comes this way.
        purity: P(target class | source class), of all that the source class is predicted for.
    """

    name: str
    index: int
    share: float
    purity: float


@dataclasses.dataclass(frozen=True)
class Confusion:
    """Another target class that images of a class are taken for.

    Attributes:
        name: the class.
        probability: that it gets from them, on average.
    """

    name: str
    probability: float


@dataclasses.dataclass(frozen=True)
class Example:
    """An image of a class.

    Attributes:
        name: what messages call it.
        position: its place in the image set.
        term: its term of leave-one-out LEEP, the log of the probability that its class gets.
        taken_for: the class that is the most probable.
    """

    name: str
    position: int
    term: float
    taken_for: str


@dataclasses.dataclass(frozen=True)
class ClassExplanation:
    """One target class. An image's own mass is left out of what predicts it, but for the carriers.

    Attributes:
        name: the class.
        n_images: its images.
        leep_loo: its images' mean term of leave-one-out LEEP.
        probability: that its images get for it, on average.
        accuracy: part of its images for which it is the most probable.
        carriers: source classes, the largest share first.
        confusions: other classes, the most probable first.
        typical: its images with the highest terms, the highest first.
        hard: its images with the lowest terms, the lowest first; none is in both, and no copy of another.
    """

    name: str
    n_images: int
    leep_loo: float
    probability: float
    accuracy: float
    carriers: tuple[Carrier, ...]
    confusions: tuple[Confusion, ...]
    typical: tuple[Example, ...]
    hard: tuple[Example, ...]


@dataclasses.dataclass(frozen=True)
class Explanation(Result):
    """A model's leave-one-out LEEP, class by class.

    Attributes:
        data, model: of what.
        n_images: images used.
        leep_loo: the score, the mean over images.
        classes: the worst first.
        notes: what was odd.
    """

    kind: ClassVar = "explanation"
    schema_version: ClassVar = SCHEMA_VERSION

    data: str
    model: str
    n_images: int
    leep_loo: float
    classes: tuple[ClassExplanation, ...]
    notes: tuple[str, ...]


def explain(
    data: ImageSet | StrPath, model: StrPath, *, top: int = 3, context: RunContext | None = None
) -> Explanation:
    """Say, for each class of a data set, how a model comes to its leave-one-out LEEP.

    LEEP predicts class y for image x with probability sum_z P(y | z) theta_z(x): each source class z is a way.

    Args:
        data: same as for `leepfrog.rank`.
        model: one, same as for `leepfrog.rank`.
        top: how many source classes and confusions to name.
        context: execution environment; None for the CPU of this machine.

    Raises:
        UsageError: not one model, one without probabilities over source classes, or `top` below 1.
        LeepfrogError: see `leepfrog.rank`.
    """
    if top < 1:
        raise UsageError(f"top must be at least 1, not {top}")
    recorder = Recorder(context)
    context = recorder.context
    images, files = find_inputs(data, [model])
    if len(files) != 1:
        names = ", ".join(file.name for file in files)
        raise UsageError(f"an explanation is of one model; {os.fspath(model)!r} names {len(files)}: {names}")
    refuse_without_probs("an explanation of LEEP", files)
    outputs = infer(images, files, context)
    return explain_outputs(outputs, outputs.models, top=top, notices=recorder.notices)[0]


def explain_outputs(
    outputs: Outputs, models: Sequence[ModelOutputs], *, top: int = 3, notices: Sequence[str] = ()
) -> list[Explanation]:
    """Explain several models, one after the other, as `explain` does.

    Args:
        outputs: of a set.
        models: those of the outputs' models that are explained.
        top: how many source classes and confusions to name.
        notices: what was said while the models ran.
    """
    hashed, images = outputs.hashed, outputs.hashed.image_set
    present, labels = np.unique(hashed.labels, return_inverse=True)
    names = [images.classes[label] for label in present]
    used = _Used(images, np.flatnonzero(hashed.used), hashed.digests)
    explanations = []
    for model_outputs in models:
        sample = ProbSample(labels.astype(np.int64), len(present), model_outputs.probs())
        classes = _classes(sample, names, model_outputs.model.metadata.labels, top, used)
        explanations.append(
            Explanation(
                data=images.name,
                model=model_outputs.model.name,
                n_images=len(sample),
                leep_loo=score_leep_loo(sample).value,
                classes=tuple(sorted(classes, key=lambda explained: explained.leep_loo)),
                notes=(*images.notes, *outputs.notes(), *hashed.skips(), *notices),
            )
        )
    return explanations


@dataclasses.dataclass(frozen=True)
class _Used:
    """Where a sample's images stand in their set, [N], and the hash of every image of the set."""

    images: ImageSet
    positions: Integers
    digests: Sequence[Digest]

    def examples(
        self, rows: Integers, predictions: Floats, names: list[str], label: int
    ) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
        """A class's typical and hard images, from its places in the sample [n] and their predictions [n, C]."""
        best_first = np.argsort(-predictions[:, label], kind="stable")
        half = (len(rows) + 1) // 2
        floor = 1 / (len(self.positions) * len(names))
        seen: set[Digest] = set()

        def first(order: Integers) -> tuple[Example, ...]:
            chosen: list[Example] = []
            for i in order:
                at = int(self.positions[rows[i]])
                if len(chosen) < EXAMPLES and self.digests[at] not in seen:
                    seen.add(self.digests[at])
                    term = float(np.log(max(predictions[i, label], floor)))
                    chosen.append(Example(self.images.images[at].name, at, term, names[predictions[i].argmax()]))
            return tuple(chosen)

        return first(best_first[:half]), first(best_first[half:][::-1])


def _classes(
    sample: ProbSample, names: list[str], sources: tuple[str, ...], top: int, used: _Used
) -> list[ClassExplanation]:
    joint = sample.one_hot.T @ sample.probs
    total = joint.sum(axis=0)
    purity = np.divide(joint, total, out=np.zeros_like(joint), where=total > 0)
    predictions = held_out_predictions(sample, joint)
    ways = joint * purity  # what each source class gives the target class's own images, summed over them
    floor = 1 / (len(sample) * sample.n_target)
    explained = []
    for label, name in enumerate(names):
        rows = np.flatnonzero(sample.labels == label)
        held_out = predictions[rows]
        mean = held_out.mean(axis=0)
        shares = ways[label] / (ways[label].sum() or 1.0)
        others = [other for other in np.argsort(-mean, kind="stable") if other != label][:top]
        typical, hard = used.examples(rows, held_out, names, label)
        explained.append(
            ClassExplanation(
                name=name,
                n_images=len(held_out),
                leep_loo=float(np.log(np.maximum(held_out[:, label], floor)).mean()),
                probability=float(mean[label]),
                accuracy=float((held_out.argmax(axis=1) == label).mean()),
                carriers=tuple(
                    Carrier(_named(sources, z), int(z), float(shares[z]), float(purity[label, z]))
                    for z in np.argsort(-shares, kind="stable")[:top]
                    if shares[z] > 0
                ),
                confusions=tuple(Confusion(names[other], float(mean[other])) for other in others if mean[other] > 0),
                typical=typical,
                hard=hard,
            )
        )
    return explained


def held_out_predictions(sample: ProbSample, joint: Floats) -> Floats:
    """LEEP's probabilities of all target classes, [N, C], each image's own mass left out.

    sum_z theta_z(x_i) (S_yz - [y = y_i] theta_z(x_i)) / (S_z - theta_z(x_i)), over source classes with something left.

    Args:
        sample: with probabilities [N, Z].
        joint: S, sums of probabilities by target class, [C, Z].
    """
    total = joint.sum(axis=0)
    predictions = np.empty((len(sample), sample.n_target))
    for start in range(0, len(sample), BLOCK):
        theta = sample.probs[start : start + BLOCK].astype(np.float64)
        left = total - theta
        # What rounding leaves of a class that only this image knows is nothing.
        weights = np.divide(theta, left, out=np.zeros_like(theta), where=left > 1e-12 * total)
        predictions[start : start + BLOCK] = weights @ joint.T
        rows = np.arange(len(theta))
        predictions[start + rows, sample.labels[start + rows]] -= (weights * theta).sum(axis=1)
    return np.clip(predictions, 0.0, 1.0)


def _named(sources: tuple[str, ...], index: int) -> str:
    return sources[index] if index < len(sources) else f"source class {index}"
