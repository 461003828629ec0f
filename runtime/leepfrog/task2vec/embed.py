"""Embed a labelled set of images as a task."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leepfrog import paths
from leepfrog.arguments import StrPath, check_seed, nearest
from leepfrog.errors import ModelError, UsageError
from leepfrog.files import listed, printable
from leepfrog.images.dataset import ImageSet
from leepfrog.images.find import find_images
from leepfrog.inference.choices import PROBE_SUFFIX
from leepfrog.inference.device import threads_for
from leepfrog.inference.local import exported, find_models
from leepfrog.inference.model import ModelFile
from leepfrog.inference.outputs import infer
from leepfrog.progress import Progress, Silent
from leepfrog.receipts.take import Stopwatch
from leepfrog.task2vec.choices import DEFAULT_ESTIMATOR, DEFAULT_TOLERANCE
from leepfrog.task2vec.embedding import EmbeddedLayer, Embedding
from leepfrog.task2vec.fisher import Moments, fisher
from leepfrog.task2vec.head import Head, fit_head
from leepfrog.task2vec.probe import ProbeFile


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
    device: str = "cpu",
    threads: int | None = None,
    strict: bool = False,
    cache: StrPath | None = None,
    progress: Progress | None = None,
) -> Embedding:
    """A task's TASK2VEC embedding (Achille et al., ICCV 2019), without a training framework.

    A softmax regression on the network's features is fitted to the task; F_j = E_x E_{y~p(y|x)} (d log p(y|x)/d w_j)^2
    then goes backwards through the probe, averaged over each filter's weights.

    Args:
        data: a folder with one folder a class, a CSV table of `file_name,label`, or an ImageSet.
        probe: an exported model that has a probe, by name, or a `.fisher.onnx` file, read or not.
        name: of the task; None for the data's.
        estimator: of the expectation over labels: "signs" (the least variance at equal cost), "sampled" or "exact".
        tolerance: no more images are looked at once another embedding of as many would lie about so near in the
            symmetric distance; 0 looks at all.
        max_images: look at no more than so many, drawn at random; the head is fitted to all.
        head_only: the Fisher information of the head's weights alone, in closed form: no probe is needed.
        l2: the head's penalty; None for `fit_head`'s.
        seed: of all that is random.
        device: its name, such as "cpu" (see `leepfrog.inference.devices`).
        threads: cores to use; None for all that this process may use.
        strict: make a bad image an error rather than skip it.
        cache: folder that keeps the models' outputs; None for leepfrog's own.
        progress: who is told how far the work is.

    Raises:
        UsageError, ModelError, DataSetError, ImageError, MachineError: see leepfrog.errors.
    """
    if not 0 <= tolerance < math.inf:
        raise UsageError(f"tolerance must be 0 or more, and finite, not {tolerance}")
    if max_images is not None and max_images < 2:
        raise UsageError(f"max_images must be at least 2, not {max_images}")
    check_seed(seed)
    progress, threads = Stopwatch(progress or Silent()), threads_for(device, threads)
    images = data if isinstance(data, ImageSet) else find_images(data)
    found = None if head_only else probe if isinstance(probe, ProbeFile) else find_probe(probe)
    model = _scoring_model(probe) if found is None else scoring_model(found)
    outputs = infer(images, [model], device, threads, strict, progress, cache=cache)
    features, kept = outputs.features(0), outputs.kept
    progress.start("fitting the head", 1)
    head = fit_head(features, images.labels[kept], l2)
    progress.advance(1)
    bad: dict[int, str] = {}
    if found is None:
        moments = _of_the_head(head, features)
        layers: tuple[EmbeddedLayer, ...] = (EmbeddedLayer("head", "head", features.shape[1]),)
    else:
        moments, bad = fisher(
            found, outputs, head, features, estimator=estimator, seed=seed, tolerance=tolerance,
            max_images=max_images, device=device, threads=threads, progress=progress,
        )  # fmt: skip
        layers = tuple(EmbeddedLayer(layer.name, layer.kind, layer.n_filters) for layer in found.metadata.layers)
    correct = head.probs(features).argmax(axis=1) == np.unique(images.labels[kept], return_inverse=True)[1]
    made: dict[str, Any] = {
        "probe": model.name,
        "probe_sha256": None if found is None else found.sha256,
        "estimator": "closed form" if found is None else estimator,
        "l2": head.l2,
        "accuracy_on_own_images": float(correct.mean()),
        "classes": {name: int(n) for name, n in zip(images.classes, outputs.counts, strict=True)},
        "n_images": moments.n,
        "n_available": int(kept.sum()),
        "notes": [*images.notes, *outputs.notes()],
        "receipt": progress.receipt(
            "embed",
            {
                "estimator": estimator,
                "tolerance": tolerance,
                "max_images": max_images,
                "head_only": head_only,
                "l2": l2,
                "strict": strict,
                "device": device,
                "probe_sha256": None if found is None else found.sha256,
            },
            outputs=outputs,
            bad=bad,
            models=[model],
            device=device,
            threads=threads,
            seed=seed,
        ).as_dict(),
    }
    return Embedding(name or default_name(images), model.sha256, layers, moments.mean, moments.standard_errors, made)


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
        found = ProbeFile.read(path)
        layers = tuple(EmbeddedLayer(layer.name, layer.kind, layer.n_filters) for layer in found.metadata.layers)
        if (found.metadata.scoring_sha256, layers) == (embedding.network, embedding.layers):
            return found
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


def _scoring_model(wanted: StrPath | ProbeFile) -> ModelFile:
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
