"""A scoring model in float16."""

from __future__ import annotations

import onnx
from leepfrog.errors import ModelError
from onnxruntime.transformers.float16 import convert_float_to_float16

from leepfrog_exporter.graph.edit import name_nodes
from leepfrog_exporter.precision.last_softmax import last_softmax


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with weights and arithmetic in float16; what goes in and comes out stays float32.

    The softmax that makes `probs` is taken in float32: in float16 rows miss a sum of 1 by some 3e-4.

    Raises:
        ModelError: the graph cannot be converted.
    """
    name_nodes(model.graph)
    kept = last_softmax(model.graph)
    try:
        half: onnx.ModelProto = convert_float_to_float16(model, keep_io_types=True, node_block_list=kept)
        return half
    except Exception as error:  # the converter raises nearly anything
        raise ModelError(f"cannot be made float16: {' '.join(str(error).split())[:300]}") from None
