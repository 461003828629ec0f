"""`onnx:FILE`: a network from an ONNX file."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

import onnx
from leepfrog.errors import ModelError, UsageError
from leepfrog.files import printable
from leepfrog.images.preprocess import PreprocessSpec
from leepfrog.inference.metadata import FEATURES_OUTPUT, IMAGE_INPUT, PROBS_OUTPUT, ModelMetadata
from leepfrog.progress import Progress

from leepfrog_exporter.declared import declaration
from leepfrog_exporter.draft import Draft, ExportOptions
from leepfrog_exporter.graph.class_names import cut_class_names
from leepfrog_exporter.graph.edit import OWN_PREFIX, drop_unused, free_names, values
from leepfrog_exporter.graph.first_operators import own_scaling
from leepfrog_exporter.graph.heads.base import KNOWN_COUNTS
from leepfrog_exporter.graph.image_input import attach_input
from leepfrog_exporter.graph.outputs import TOWER_OUTPUTS, pick_output
from leepfrog_exporter.graph.read import read_onnx
from leepfrog_exporter.graph.shapes import shapes
from leepfrog_exporter.graph.softmax import expand_quantized_softmax
from leepfrog_exporter.original import Original
from leepfrog_exporter.presets import check_grey, check_scaling, maps_to_bytes

TAKES = "FILE"

_OWN_NAMES = (IMAGE_INPUT, PROBS_OUTPUT, FEATURES_OUTPUT)
_EMBEDDING_NAME = re.compile("embed|encod|feat|hidden|pool|represent", re.IGNORECASE)


def draft(rest: str, options: ExportOptions, progress: Progress) -> Draft:
    """Return the draft of an ONNX file, with an image input attached.

    Raises:
        UsageError, ModelError: the options do not fit, the file cannot be read, or the network does not take one image.
    """
    path = Path(os.path.expanduser(rest))  # unlike Path.expanduser, leaves ~unknown_user unchanged
    return draft_of_file(path, options, progress, f"onnx:{printable(path.name)}")


def draft_of_file(
    path: Path, options: ExportOptions, progress: Progress, source: str, name: str = "", license: str = ""
) -> Draft:
    """Return the draft of an ONNX file.

    Args:
        path: the file.
        options: options of the export.
        progress: advanced by two steps.
        source: name of the source in the metadata.
        name: name of the model unless the options give one; "" for that of the file.
        license: license if neither the options nor the file give one.

    Raises:
        UsageError, ModelError: see `draft`.
    """
    if options.random_weights:
        raise UsageError("--random-weights is for timm and torchvision sources only")
    model, sha256 = read_onnx(path)
    where = printable(path)
    progress.advance(1)
    carried, told = _carried(model), declaration(path, model)
    if told.refusal and options.features is None:
        raise ModelError(f"{where}: {told.refusal}")
    named = cut_class_names(model.graph)
    output = pick_output(model.graph, options.output_name or ("probs" if carried and carried.has_probs else None))
    inputs = {value.name for value in model.graph.input}
    reserved = [value for value in values(model.graph) - inputs if value in _OWN_NAMES or value.startswith(OWN_PREFIX)]
    free_names(model.graph, reserved)
    original = Original(model, model.graph.output[0].name)
    expand_quantized_softmax(model.graph)
    spec = _attached(model, original, options, carried.preprocess if carried else told.preprocess, where, progress)
    progress.advance(1)
    if options.no_probs:
        drop_unused(model.graph)  # for example the head of a classifier of which only features are exported
    known = None if options.no_probs else carried
    metadata = ModelMetadata(
        name=options.name or name or told.name or path.stem,
        source=source,
        preprocess=spec,
        labels=carried.labels if carried else told.labels or named,
        license=options.license or (carried.license if carried else told.license) or license,
        n_parameters=known.n_parameters if known else _n_parameters(model),
        top1=known.top1 if known else None,
        weights_sha256=sha256,
    )
    not_classes = "" if options.labels or metadata.labels else _not_classes(model, output)
    return Draft(model, original.reference, "the original file", metadata, not_classes=not_classes)


def _not_classes(model: onnx.ModelProto, output: str) -> str:
    """Return why an output without labels is an embedding by its name, and no usual number of classes; "" otherwise."""
    is_named = output in TOWER_OUTPUTS or _EMBEDDING_NAME.search(output)
    if not is_named or (shapes(model).get(output) or [0])[-1] in KNOWN_COUNTS:
        return ""
    return f"its output is named {printable(output)!r}; if it has classes, add --labels FILE"


def _attached(
    model: onnx.ModelProto,
    original: Original,
    options: ExportOptions,
    stated: PreprocessSpec | None,
    where: str,
    progress: Progress,
) -> PreprocessSpec:
    """Attach the image input to a graph, and return the preprocessing that fits it."""
    scaling = own_scaling(model.graph, original.input, 3 if original.channels_last else 1)
    takes_bytes = any(i.type.tensor_type.elem_type == onnx.TensorProto.UINT8 for i in model.graph.input)
    size = attach_input(model, options.preprocess.input_size, stated.input_size if stated else None)
    spec = options.preprocess.spec(size, stated, where)
    if takes_bytes and not maps_to_bytes(spec):
        raise UsageError(f"{where}: its input is uint8, so pixels must stay in 0..255; add --preprocess raw")
    if original.channels == 1:
        check_grey(spec, where)
    if scaling is not None and (warning := check_scaling(scaling, spec, options.preprocess, where)):
        progress.notice(warning)
    return spec


def _carried(model: onnx.ModelProto) -> ModelMetadata | None:
    """Return the metadata in the file, if it is already a scoring model."""
    try:
        return ModelMetadata.from_props({entry.key: entry.value for entry in model.metadata_props})
    except ModelError:
        return None


def _n_parameters(model: onnx.ModelProto) -> int:
    """Count the floating-point parameters of a graph, without the running statistics of batch-norms."""
    kinds = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE}
    nodes = model.graph.node
    statistics = {name for node in nodes if node.op_type == "BatchNormalization" for name in node.input[3:5]}
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    weights |= {node.output[0]: a.t for node in nodes if node.op_type == "Constant" for a in node.attribute}
    return sum(math.prod(t.dims) for name, t in weights.items() if t.data_type in kinds and name not in statistics)
