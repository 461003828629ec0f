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
    """Parameters of a task embedding.

    Attributes:
        estimator: estimator of the expectation over labels: "signs" (lowest variance at equal cost), "sampled" or
            "exact".
        tolerance: stop once the expected symmetric distance to another embedding from equally many images is at most
            this; 0 uses all images.
        max_images: maximum number of images, drawn at random, for the backward passes; None for all. The head is fitted
            to all images.
        head_only: compute only the Fisher information of the head's weights, in closed form; no probe is needed.
        l2: L2 penalty of the head; None for 10 / N.

    Raises:
        UsageError: a number is out of range.

    >>> import leepfrog
    >>> request = EmbedRequest(max_images=20)
    >>> request.run("PHOTOS", "mobilenet_v2", leepfrog.RunContext()).made["n_images"]
    20
    """

    command: ClassVar = "embed"
    estimator: str = DEFAULT_ESTIMATOR
    tolerance: float = DEFAULT_TOLERANCE
    max_images: int | None = None
    head_only: bool = False
    l2: float | None = None

    def __post_init__(self) -> None:
        """Check that numbers are in range."""
        if not 0 <= self.tolerance < math.inf:
            raise UsageError(f"tolerance must be 0 or more, and finite, not {self.tolerance}")
        if self.max_images is not None and self.max_images < 2:
            raise UsageError(f"max_images must be at least 2, not {self.max_images}")
        check_seed(self.seed)

    def run(
        self, data: ImageSet | StrPath, probe: StrPath | ProbeFile, context: RunContext, name: str | None = None
    ) -> Embedding:
        """Embed the task; see `embed`."""
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
        """Repeat the embedding; UsageError if the receipt does not list exactly one model."""
        if len(models) != 1:
            raise UsageError(f"the receipt lists {len(models)} models, but embed takes one")
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
    """Compute a task's TASK2VEC embedding (Achille et al., ICCV 2019) without a training framework.

    A softmax regression on the network's features is fitted to the task. The Fisher information
    F_j = E_x E_{y~p(y|x)} (d log p(y|x)/d w_j)^2 is then computed by backward passes through the probe and averaged
    over each filter's weights.

    Args:
        data: same as for `leepfrog.rank`.
        probe: name of an exported model that has a probe, path of a `.fisher.onnx` file, or a `ProbeFile`.
        name: name of the task; None for the last two parts of the path of the images.
        estimator: estimator of the expectation over labels: "signs", "sampled" or "exact".
        tolerance: stop once the expected distance to another embedding of the same task is at most this.
        max_images: maximum number of images for the backward passes; None for all.
        head_only: compute only the Fisher information of the head's weights.
        l2: L2 penalty of the head; None for 10 / N.
        seed: random seed.
        context: device, cores and progress; None for this machine's CPU.

    Returns:
        The embedding; see `EmbedRequest` for details of the arguments.

    Raises:
        UsageError, ModelError, DataSetError, ImageError, MachineError: see leepfrog.errors.

    >>> embedding = embed("PHOTOS", "mobilenet_v2", name="photos")
    >>> embedding.name, embedding.made["probe"], embedding.made["n_available"]
    ('photos', 'mobilenet_v2', 48)
    """
    request = EmbedRequest(estimator, tolerance, max_images, head_only, l2, seed=seed)
    return request.run(data, probe, context or RunContext(), name)


def default_name(images: ImageSet) -> str:
    """Return a task's default name: the last two parts of the image set's path."""
    parts = [part for part in Path(images.name).parts if part not in ("/", ".", "..")]
    return printable("/".join(parts[-2:]) or images.name)


def find_probe(wanted: StrPath) -> ProbeFile:
    """Find a probe by the name of its model in the models folder, or by its file or the model's file.

    Raises:
        UsageError: no model has that name, or the model has no probe yet.
        ModelError: the file is missing, broken or not a probe.
        MachineError: the models folder cannot be read.
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
        raise UsageError(f"no model called {text!r} has a probe ({there}); create it: leepfrog export {text} --probe")
    return ProbeFile.read(path)


def probe_of(embedding: Embedding) -> ProbeFile:
    """Find the probe in the models folder that an embedding was computed with.

    Raises:
        UsageError: there is no such probe.
        ModelError: a probe in the folder is broken.
        MachineError: the models folder cannot be read.
    """
    exported()  # raises a MachineError if the folder cannot be read
    for path in listed(paths.models(), PROBE_SUFFIX):
        probe = ProbeFile.read(path)
        if (probe.metadata.scoring_sha256, _layers_of(probe)) == (embedding.network, embedding.layers):
            return probe
    made_by = printable(str(embedding.made.get("probe", "MODEL")))
    raise UsageError(
        f"{printable(embedding.name)} was embedded with {len(embedding.layers)} layers of {made_by}, but there is no "
        f"such probe here; create it with leepfrog export {made_by} --probe"
    )


def scoring_model(probe: ProbeFile) -> ModelFile:
    """Read the scoring model of a probe, which is stored in the same folder.

    Raises:
        ModelError: the scoring model is missing, or has changed since the probe was exported.
    """
    path = probe.path.with_name(probe.path.name.removesuffix(PROBE_SUFFIX) + ".onnx")
    model = ModelFile.read(path)
    if model.sha256 != probe.metadata.scoring_sha256:
        raise ModelError(
            f"{printable(probe.path)}: was exported from a different {printable(path.name)} than the one in this "
            f"folder; export it again: leepfrog export {printable(path.stem)} --probe"
        )
    return model


def _layers_of(probe: ProbeFile) -> tuple[EmbeddedLayer, ...]:
    return tuple(EmbeddedLayer(layer.name, layer.kind, layer.n_filters) for layer in probe.metadata.layers)


def _network_of(wanted: StrPath | ProbeFile) -> ModelFile:
    """Find the scoring model named by a `probe` argument, for embeddings that need no probe."""
    text = os.fspath(wanted.path if isinstance(wanted, ProbeFile) else wanted)
    if text.endswith(PROBE_SUFFIX):
        text = text.removesuffix(PROBE_SUFFIX) + ".onnx"
    models = find_models([text])
    if len(models) > 1:
        raise UsageError(f"{text!r} matches {len(models)} models; expected exactly one")
    return models[0]


def _of_the_head(head: Head, features: NDArray[np.float32]) -> Moments:
    """E_x E_{y~p} (d log p(y|x) / d W[d, c])^2 = E_x x_d^2 p_c (1 - p_c), averaged over classes c, [D]."""
    probs = head.probs(features)
    moments = Moments(features.shape[1])
    moments.add((probs * (1 - probs)).mean(axis=1)[:, None] * features.astype(np.float64) ** 2)
    return moments
