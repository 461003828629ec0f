"""A scoring model in float16."""

from __future__ import annotations

import onnx
from leepfrog.errors import ModelError, one_line
from leepfrog.inference.metadata import PROBS_OUTPUT
from onnx import TensorProto, helper
from onnxruntime.transformers.float16 import convert_float_to_float16

from leepfrog_exporter.graph.edit import name_nodes
from leepfrog_exporter.precision.last_softmax import last_softmax


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with weights and arithmetic in float16; what goes in and comes out stays float32.

    The softmax that makes `probs` is taken off before and put back after: the converter would round what it puts out to
    float16 even where it is told to leave it alone, and rows would miss a sum of 1 by some 3e-4.

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
    except Exception as error:  # the converter raises nearly anything
        raise ModelError(f"cannot be made float16: {one_line(error)}") from None
    half.graph.node.extend(tail)
    del half.graph.output[:]
    half.graph.output.extend(outputs)
    return half
