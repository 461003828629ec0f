"""Multiply-adds of a graph, counted from its shapes."""

from __future__ import annotations

import math

import onnx

COUNTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def count_macs(model: onnx.ModelProto, input_size: tuple[int, int]) -> int | None:
    """Multiply-adds of convolutions, linear layers and matrix products on one image; None where shapes are not known.

    Biases, activations, pooling and normalisation are not counted, as is usual.

    Args:
        model: with one image input [N, 3, H, W].
        input_size: H and W.
    """
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    dims = fixed.graph.input[0].type.tensor_type.shape.dim
    for dim, size in zip(dims, (1, 3, *input_size), strict=True):
        dim.dim_value = size
    for value in fixed.graph.output:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    try:
        fixed = onnx.shape_inference.infer_shapes(fixed, data_prop=True)
    except onnx.shape_inference.InferenceError:
        return None
    graph = fixed.graph
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.input, *graph.output)
    }
    shapes |= {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    shapes |= {
        node.output[0]: list(each.t.dims)
        for node in graph.node
        if node.op_type == "Constant"
        for each in node.attribute
        if each.name == "value"
    }
    total = 0
    for node in graph.node:
        if node.op_type not in COUNTED:
            continue
        made, taken, weight = (shapes.get(name) for name in (node.output[0], node.input[0], node.input[1]))
        if made is None or taken is None or weight is None or 0 in (*made, *taken):
            return None
        if node.op_type == "Conv":
            total += math.prod(made) * math.prod(weight[1:])
        elif node.op_type == "ConvTranspose":
            total += math.prod(taken) * math.prod(weight[1:])
        else:
            transposed = any(each.name == "transA" and each.i for each in node.attribute)
            total += math.prod(made) * taken[0 if transposed else -1]
    return total
