"""Multiply-add counts of graphs, from their shapes."""

from __future__ import annotations

import math

from onnx import ModelProto

from leepfrog_exporter.graph.edit import attributes
from leepfrog_exporter.graph.shapes import shapes

COUNTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def count_macs(model: ModelProto, input_size: tuple[int, int]) -> int | None:
    """Count multiply-adds of convolutions, linear layers and matrix products per image; None if shapes are unknown.

    As usual, biases, activations, pooling and normalization are not counted.

    Args:
        model: a model with one image input [N, 3, H, W].
        input_size: height H and width W.
    """
    known = shapes(model, (1, 3, *input_size))
    total = 0
    for node in model.graph.node:
        if node.op_type not in COUNTED:
            continue
        made, taken, weight = (known.get(name, [0]) for name in (node.output[0], *node.input[:2]))
        if 0 in (*made, *taken, *weight):
            return None
        if node.op_type == "Conv":
            total += math.prod(made) * math.prod(weight[1:])
        elif node.op_type == "ConvTranspose":
            total += math.prod(taken) * math.prod(weight[1:])
        else:
            total += math.prod(made) * taken[0 if attributes(node).get("transA", 0) else -1]
    return total
