"""Embed a labelled set of images as a task."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from leepfrog import paths
from leepfrog.arguments import StrPath, check_seed, nearest
from leepfrog.errors import ModelError, UsageError
from leepfrog.execution.context import RunContext
from leepfrog.execution.outputs import infer
from leepfrog.files import listed, printable
from leepfrog.images.dataset import ImageSet
from leepfrog.images.find import open_data
from leepfrog.inference.choices import PROBE_SUFFIX
from leepfrog.inference.model import ModelFile
from leepfrog.inference.model_lookup import exported, find_models
from leepfrog.receipts.receipt import Receipt
from leepfrog.receipts.recorder import Recorder
from leepfrog.receipts.request import ModelsRequest
from leepfrog.task2vec.choices import DEFAULT_ESTIMATOR, DEFAULT_TOLERANCE
from leepfrog.task2vec.embedding import EmbeddedLayer, Embedding
from leepfrog.task2vec.fisher import Moments, fisher
from leepfrog.task2vec.head import Head, fit_head
from leepfrog.task2vec.probe import ProbeFile


@dataclasses.dataclass(frozen=True)
class EmbedRequest(ModelsRequest):
    """What an embedding is asked for.

    Attributes:
        estimator: of the expectation over labels: "signs" (the least variance at equal cost), "sampled" or "exact".
        tolerance: no more images are looked at once another embedding of as many would lie about so near in the
            symmetric distance; 0 looks at all.
        max_images: look at no more than so many, drawn at random; the head is fitted to all.
        head_only: the Fisher information of the head's weights alone, in closed form: no probe is needed.
        l2: the head's penalty; None for `fit_head`'s.

    Raises:
        UsageError: a number out of range.
    """

    command: ClassVar = "embed"
    estimator: str = DEFAULT_ESTIMATOR
    tolerance: float = DEFAULT_TOLERANCE
    max_images: int | None = None
    head_only: bool = False
    l2: float | None = None

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        if not 0 <= self.tolerance < math.inf:
            raise UsageError(f"tolerance must be 0 or more, and finite, not {self.tolerance}")
        if self.max_images is not None and self.max_images < 2:
            raise UsageError(f"max_images must be at least 2, not {self.max_images}")
        check_seed(self.seed)

    def run(
        self, data: ImageSet | StrPath, probe: StrPath | ProbeFile, context: RunContext, name: str | None = None
    ) -> Embedding:
        """The embedding; see `embed`."""
        recorder = Recorder(context)
        context = recorder.context
        images = open_data(data)
        network = None if self.head_only else probe if isinstance(probe, ProbeFile) else find_probe(probe)
        file = _network_of(probe) if network is None else scoring_model(network)
        outputs = infer(images, [file], context)
        (model,) = outputs
        features, labels = model.features(), outputs.hashed.labels
        context.progress.start("fitting the head", 1)
        head = fit_head(features, labels, self.l2)
        context.progress.advance(1)
        used = outputs.hashed
        if network is None:
            moments = _of_the_head(head, features)
            layers: tuple[EmbeddedLayer, ...] = (EmbeddedLayer("head", "head", features.shape[1]),)
        else:
            moments, lost = fisher(network, outputs.hashed, head, features, self, context)
            layers = _layers_of(network)
            used = used.without(lost) if lost else used
        correct = head.probs(features).argmax(axis=1) == np.unique(labels, return_inverse=True)[1]
        probe_sha256 = None if network is None else network.sha256
        made: dict[str, Any] = {
            "probe": file.name,
            "probe_sha256": probe_sha256,
            "estimator": "closed form" if network is None else self.estimator,
            "l2": head.l2,
            "accuracy_on_own_images": float(correct.mean()),
            "classes": {name: int(n) for name, n in zip(images.classes, outputs.hashed.counts, strict=True)},
            "n_images": moments.n,
            "n_available": len(labels),
            "notes": [*images.notes, *outputs.notes()],
            "receipt": recorder.receipt(self, images=used, models=[file], probe_sha256=probe_sha256).as_dict(),
        }
        return Embedding(name or default_name(images), file.sha256, layers, moments.mean, moments.standard_errors, made)

    def run_again(self, data: Path, models: Sequence[Path], receipt: Receipt, context: RunContext) -> Embedding:
        """The embedding once more; UsageError where the receipt does not tell of one model."""
        if len(models) != 1:
            raise UsageError(f"the receipt tells of {len(models)} models, of which embed takes one")
        return self.run(data, models[0], context)


def embed(
    data: ImageSet | StrPath,
    probe: StrPath | ProbeFile,
    *,
    name: str | None = None,
    estimator: str = DEFAULT_ESTIMATOR,
    tolerance: float = DEFAULT_TOLERANCE,
    max_images: int | None = None,
    head_only: bool = False,
    l2: float | None = None,
    seed: int = 0,
    context: RunContext | None = None,
) -> Embedding:
    """A task's TASK2VEC embedding (Achille et al., ICCV 2019), without a training framework.

    A softmax regression on the network's features is fitted to the task; F_j = E_x E_{y~p(y|x)} (d log p(y|x)/d w_j)^2
    then goes backwards through the probe, averaged over each filter's weights.

    Args:
        data: same as for `leepfrog.rank`.
        probe: an exported model that has a probe, by name, or a `.fisher.onnx` file, read or not.
        name: of the task; None for the data's.
        estimator: of the expectation over labels; see `EmbedRequest` for this and the arguments up to `seed`.
        tolerance: the expected distance to a re-sampled embedding below which no more images are looked at.
        max_images: look at no more than so many.
        head_only: the Fisher information of the head's weights alone.
        l2: the head's penalty; None for `fit_head`'s.
        seed: of all that is random.
        context: device, cores and progress; None for this machine's CPU.

    Raises:
        UsageError, ModelError, DataSetError, ImageError, MachineError: see leepfrog.errors.
    """
    request = EmbedRequest(estimator, tolerance, max_images, head_only, l2, seed=seed)
    return request.run(data, probe, context or RunContext(), name)


def default_name(images: ImageSet) -> str:
    """What a task is called after its images: the folder's last two parts."""
    parts = [part for part in Path(images.name).parts if part not in ("/", ".", "..")]
    return printable("/".join(parts[-2:]) or images.name)


def find_probe(wanted: StrPath) -> ProbeFile:
    """A probe by the name of its model in the models folder, or by its file.

    Raises:
        UsageError: nothing goes by that name, or the model has no probe yet.
        ModelError: the file is broken or no probe.
    """
    text = os.fspath(wanted)
    if text.endswith(".onnx"):
        path = Path(text)
        if not text.endswith(PROBE_SUFFIX):
            path = path.with_name(path.name.removesuffix(".onnx") + PROBE_SUFFIX)
        return ProbeFile.read(path)
    path = paths.models() / f"{text}{PROBE_SUFFIX}"
    known = exported()
    if not path.exists():
        probes = [name for name in known if (paths.models() / f"{name}{PROBE_SUFFIX}").exists()]
        near = nearest(text, probes)
        if text not in known and near:
            raise UsageError(f"no model called {text!r} has a probe; did you mean {near}?")
        there = f"there are probes of {', '.join(probes)}" if probes else "there are no probes yet"
        raise UsageError(f"no model called {text!r} has a probe ({there}); to make it: leepfrog export {text} --probe")
    return ProbeFile.read(path)


def probe_of(embedding: Embedding) -> ProbeFile:
    """The probe in the models folder that an embedding was made by.

    Raises:
        UsageError: it is not there.
    """
    exported()  # where the folder cannot be read, it says so
    for path in listed(paths.models(), PROBE_SUFFIX):
        probe = ProbeFile.read(path)
        if (probe.metadata.scoring_sha256, _layers_of(probe)) == (embedding.network, embedding.layers):
            return probe
    made_by = printable(str(embedding.made.get("probe", "a model that is not named")))
    raise UsageError(
        f"{printable(embedding.name)} was embedded by {made_by} with {len(embedding.layers)} layers, of which there is "
        f"no probe here; to make it: leepfrog export {made_by} --probe"
    )


def scoring_model(probe: ProbeFile) -> ModelFile:
    """The scoring model beside a probe, that it was made from.

    Raises:
        ModelError: it is missing, or has changed since.
    """
    path = probe.path.with_name(probe.path.name.removesuffix(PROBE_SUFFIX) + ".onnx")
    model = ModelFile.read(path)
    if model.sha256 != probe.metadata.scoring_sha256:
        raise ModelError(
            f"{printable(probe.path)}: was made from another {printable(path.name)} than the one beside it; "
            f"make it again: leepfrog export {printable(path.stem)} --probe"
        )
    return model


def _layers_of(probe: ProbeFile) -> tuple[EmbeddedLayer, ...]:
    return tuple(EmbeddedLayer(layer.name, layer.kind, layer.n_filters) for layer in probe.metadata.layers)


def _network_of(wanted: StrPath | ProbeFile) -> ModelFile:
    """The scoring model that is meant where no probe is needed."""
    text = os.fspath(wanted.path if isinstance(wanted, ProbeFile) else wanted)
    if text.endswith(PROBE_SUFFIX):
        text = text.removesuffix(PROBE_SUFFIX) + ".onnx"
    models = find_models([text])
    if len(models) > 1:
        raise UsageError(f"{text!r} names {len(models)} models; one is needed")
    return models[0]


def _of_the_head(head: Head, features: NDArray[np.float32]) -> Moments:
    """E_x E_{y~p} (d log p(y|x) / d W[d, c])^2 = E_x x_d^2 p_c (1 - p_c), averaged over classes c, [D]."""
    probs = head.probs(features)
    moments = Moments(features.shape[1])
    moments.add((probs * (1 - probs)).mean(axis=1)[:, None] * features.astype(np.float64) ** 2)
    return moments
