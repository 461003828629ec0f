"""Explain a model's LEEP: the source classes that predict each target class, and the confusions between classes."""

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

# Number of typical and of hard images to list per class.
EXAMPLES = 2

# Images processed per block, to bound memory.
BLOCK = 2048


@dataclasses.dataclass(frozen=True)
class Carrier:
    """The contribution of one source class to predicting a target class.

    Attributes:
        name: name of the source class, or its number if the model stores no class names.
        index: index of the source class in the model's output.
        share: fraction of the target class's predicted probability, over its own images, that comes through this
            source class.
        purity: P(target class | source class), the fraction of the source class's mass on images of the target class.
    """

    name: str
    index: int
    share: float
    purity: float


@dataclasses.dataclass(frozen=True)
class Confusion:
    """Another target class that images of a class are mistaken for.

    Attributes:
        name: name of the other class.
        probability: mean predicted probability of the other class.
    """

    name: str
    probability: float


@dataclasses.dataclass(frozen=True)
class Example:
    """An image of a class.

    Attributes:
        name: name of the image as used in messages.
        position: index of the image in the image set.
        term: term of leave-one-out LEEP, the log of the probability predicted for the image's class.
        taken_for: the most probable class.
    """

    name: str
    position: int
    term: float
    taken_for: str


@dataclasses.dataclass(frozen=True)
class ClassExplanation:
    """One target class; all values except the carriers exclude an image's own mass from its prediction.

    Attributes:
        name: name of the class.
        n_images: number of images of the class.
        leep_loo: mean leave-one-out LEEP term over images of the class.
        probability: mean predicted probability of the class over its own images.
        accuracy: fraction of images of the class for which it is the most probable.
        carriers: source classes with the largest shares, in descending order.
        confusions: most probable other classes, in descending order.
        typical: images with the highest terms, in descending order.
        hard: images with the lowest terms, in ascending order; disjoint from `typical`, without duplicate images.
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
        data: source of the images.
        model: name of the model.
        n_images: number of images used.
        leep_loo: leave-one-out LEEP, the mean of its terms over images.
        classes: explanation of each class, lowest leave-one-out LEEP first.
        notes: irregularities and how they were handled.

    >>> import leepfrog
    >>> hardest = leepfrog.explain("PHOTOS", "mobilenet_v2").classes[0]
    >>> hardest.n_images, len(hardest.hard), hardest.hard[0].term <= hardest.typical[0].term
    (12, 2, True)
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
    """Explain, class by class, how a model arrives at its leave-one-out LEEP.

    LEEP predicts class y for image x with probability sum_z P(y | z) theta_z(x), a sum of contributions of source
    classes z.

    Args:
        data: same as for `leepfrog.rank`.
        model: a single model, specified as for `leepfrog.rank`.
        top: maximum number of source classes and of confusions to list per class.
        context: execution environment; None for the CPU of this machine.

    Raises:
        UsageError: not exactly one model, a model without probabilities over source classes, or `top` below 1.
        LeepfrogError: see `leepfrog.rank`.

    >>> explanation = explain("PHOTOS", "mobilenet_v2", top=2)
    >>> sorted(explained.name for explained in explanation.classes)
    ['cat', 'china', 'coffee', 'rocket']
    >>> len(explanation.classes[0].carriers)
    2
    """
    if top < 1:
        raise UsageError(f"top must be at least 1, not {top}")
    recorder = Recorder(context)
    context = recorder.context
    images, files = find_inputs(data, [model])
    if len(files) != 1:
        names = ", ".join(file.name for file in files)
        raise UsageError(f"explain takes a single model; {os.fspath(model)!r} matches {len(files)}: {names}")
    refuse_without_probs("an explanation of LEEP", files)
    outputs = infer(images, files, context)
    return explain_outputs(outputs, outputs.models, top=top, notices=recorder.notices)[0]


def explain_outputs(
    outputs: Outputs, models: Sequence[ModelOutputs], *, top: int = 3, notices: Sequence[str] = ()
) -> list[Explanation]:
    """Explain several models from their outputs; see `explain`.

    Args:
        outputs: outputs of all models on an image set.
        models: outputs of the models to explain, a subset of `outputs`.
        top: maximum number of source classes and of confusions to list per class.
        notices: notices issued while the models ran.
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
    """Index of each sample image in its image set, [N], and the content hashes of all images in the set."""

    images: ImageSet
    positions: Integers
    digests: Sequence[Digest]

    def examples(
        self, rows: Integers, predictions: Floats, names: list[str], label: int
    ) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
        """Return the typical and the hard images of a class, given its sample rows [n] and their predictions [n, C]."""
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
    ways = joint * purity  # predicted probability by source class, summed over the target class's own images
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
    """Return LEEP's leave-one-out predictions of all target classes, [N, C].

    sum_z theta_z(x_i) (S_yz - [y = y_i] theta_z(x_i)) / (S_z - theta_z(x_i)), over source classes whose mass does not
    come from image i alone.

    Args:
        sample: sample with probabilities [N, Z].
        joint: S, sums of probabilities by target class, [C, Z].
    """
    total = joint.sum(axis=0)
    predictions = np.empty((len(sample), sample.n_target))
    for start in range(0, len(sample), BLOCK):
        theta = sample.probs[start : start + BLOCK].astype(np.float64)
        left = total - theta
        # Treat rounding residue as zero: all mass of this source class comes from the image itself.
        weights = np.divide(theta, left, out=np.zeros_like(theta), where=left > 1e-12 * total)
        predictions[start : start + BLOCK] = weights @ joint.T
        rows = np.arange(len(theta))
        predictions[start + rows, sample.labels[start + rows]] -= (weights * theta).sum(axis=1)
    return np.clip(predictions, 0.0, 1.0)


def _named(sources: tuple[str, ...], index: int) -> str:
    return sources[index] if index < len(sources) else f"source class {index}"
