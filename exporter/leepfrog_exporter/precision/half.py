"""Conversion of scoring models to float16."""

from __future__ import annotations

import onnx
from leepfrog.errors import ModelError, one_line
from leepfrog.inference.metadata import PROBS_OUTPUT
from onnx import TensorProto, helper
from onnxruntime.transformers.float16 import convert_float_to_float16

from leepfrog_exporter.graph.edit import name_nodes
from leepfrog_exporter.precision.last_softmax import last_softmax


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Convert weights and arithmetic of a model to float16; inputs and outputs stay float32.

    The softmax that computes `probs` is removed before the conversion and restored afterwards. The converter would
    round its output to float16 even if the node were excluded, and row sums would differ from 1 by about 3e-4.

    Raises:
        ModelError: the graph cannot be converted.
    """
    name_nodes(model.graph)
    tail = last_softmax(model.graph)
    outputs = list(model.graph.output)
    for node in tail:
        model.graph.node.remove(node)
    if tail:
        logits = helper.make_tensor_value_info(tail[0].input[0], TensorProto.FLOAT, ["N", None])
        del model.graph.output[:]
        model.graph.output.extend(logits if value.name == PROBS_OUTPUT else value for value in outputs)
    try:
        half: onnx.ModelProto = convert_float_to_float16(model, keep_io_types=True)
    except Exception as error:  # the converter may raise almost anything
        raise ModelError(f"cannot be converted to float16: {one_line(error)}") from None
    half.graph.node.extend(tail)
    del half.graph.output[:]
    half.graph.output.extend(outputs)
    return half
