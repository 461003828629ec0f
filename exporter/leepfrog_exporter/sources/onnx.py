"""`onnx:FILE`: a network from an ONNX file."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

import onnx
from leepfrog.errors import ModelError, UsageError
from leepfrog.files import printable
from leepfrog.inference.metadata import FEATURES_OUTPUT, IMAGE_INPUT, PROBS_OUTPUT, ModelMetadata
from leepfrog.progress import Progress

from leepfrog_exporter.draft import Draft, ExportOptions
from leepfrog_exporter.graph.class_names import cut_class_names
from leepfrog_exporter.graph.edit import OWN_PREFIX, drop_unused, free_names, values
from leepfrog_exporter.graph.first_operators import own_scaling
from leepfrog_exporter.graph.image_input import attach_input
from leepfrog_exporter.graph.outputs import TOWER_OUTPUTS, pick_output
from leepfrog_exporter.graph.read import read_onnx
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
    if options.random_weights:
        raise UsageError("--random-weights is for timm and torchvision sources only")
    model, sha256 = read_onnx(path)
    where = printable(path)
    progress.advance(1)
    carried = _carried(model)
    named = cut_class_names(model.graph)
    output = pick_output(model.graph, options.output_name or ("probs" if carried and carried.has_probs else None))
    inputs = {value.name for value in model.graph.input}
    reserved = [name for name in values(model.graph) - inputs if name in _OWN_NAMES or name.startswith(OWN_PREFIX)]
    free_names(model.graph, reserved)
    original = Original(model, model.graph.output[0].name)
    expand_quantized_softmax(model.graph)
    scaling = own_scaling(model.graph, original.input, 3 if original.channels_last else 1)
    takes_bytes = any(i.type.tensor_type.elem_type == onnx.TensorProto.UINT8 for i in model.graph.input)
    size = attach_input(model, options.preprocess.input_size)
    spec = options.preprocess.spec(size, carried.preprocess if carried else None, where)
    if takes_bytes and not maps_to_bytes(spec):
        raise UsageError(f"{where}: its input is uint8, so pixels must stay in 0..255; add --preprocess raw")
    if original.channels == 1:
        check_grey(spec, where)
    if scaling is not None and (warning := check_scaling(scaling, spec, options.preprocess, where)):
        progress.notice(warning)
    progress.advance(1)
    if options.no_probs:
        drop_unused(model.graph)  # for example the head of a classifier of which only features are exported
    known = None if options.no_probs else carried
    metadata = ModelMetadata(
        name=options.name or path.stem,
        source=f"onnx:{printable(path.name)}",
        preprocess=spec,
        labels=carried.labels if carried else named,
        license=options.license or (carried.license if carried else ""),
        n_parameters=known.n_parameters if known else _n_parameters(model),
        top1=known.top1 if known else None,
        weights_sha256=sha256,
    )
    doubt = f"its output is named {printable(output)!r}" if _EMBEDDING_NAME.search(output) else ""
    is_tower = output in TOWER_OUTPUTS and not options.labels
    not_classes = f"its output {output!r} is not one of classes" if is_tower else ""
    return Draft(model, original.reference, "the original file", metadata, doubt, not_classes)


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
