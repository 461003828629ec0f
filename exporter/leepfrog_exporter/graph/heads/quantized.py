"""Heads with a linear layer on integers: QOperator and dynamically quantized layers, and packed weights."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import NodeProto

from leepfrog_exporter.graph.edit import constant_number, describe, stored
from leepfrog_exporter.graph.heads.base import Head, Location, head_of
from leepfrog_exporter.graph.tail import Tail

PRIORITY = 15

# Layers whose input 0 is quantized with the scale and zero point in inputs 1 and 2: whether channels come last.
_STATIC = {"QGemm": True, "QLinearMatMul": True, "QLinearConv": False}
# Layers that take float features, quantize them inside, or have packed weights.
_FLOAT = {"DynamicQuantizeMatMul", "MatMulNBits", "FusedMatMul", "FusedGemm"}
_INTEGER = {"MatMulInteger": True, "ConvInteger": False}
# The output of these is the floating-point result of an integer layer and its scales.
_RESCALED = {"MatMulIntegerToFloat"}


def head(tail: Tail) -> Head | None:
    """Return the head of a network whose last linear layer works on integers, or has packed weights."""
    node = tail.node
    if node.op_type in _STATIC:
        scale, zero = (constant_number(tail.graph, node.input[i]) for i in (1, 2))
        if scale is None or zero is None or node.input[3] not in tail.constant:
            return None
        weights = stored(tail.graph).get(node.input[3])
        channels_last = _STATIC[node.op_type]
        if not channels_last and (weights is None or list(weights.dims[2:]) != [1, 1]):
            return None
        return head_of(tail, Location(node.input[0], channels_last, describe(node), scale=scale, zero=zero))
    if node.op_type in _FLOAT and node.input[1] in tail.constant:
        return head_of(tail, Location(node.input[0], True, describe(node)))
    layer, channels_last = _integer_layer(node, tail.made_by)
    if layer is None or layer.input[1] not in tail.constant:
        return None
    quantizing = tail.made_by.get(layer.input[0])
    if quantizing is None or quantizing.op_type not in ("DynamicQuantizeLinear", "QuantizeLinear"):
        return None
    return head_of(tail, Location(quantizing.input[0], channels_last, describe(layer)))


def _integer_layer(node: NodeProto, made_by: Mapping[str, NodeProto]) -> tuple[NodeProto | None, bool]:
    """Return the integer layer whose result a node rescales, and whether channels come last; None if there is none."""
    if node.op_type in _RESCALED:
        return node, True
    for name in node.input if node.op_type == "Mul" else ():
        above = made_by.get(name)
        while above is not None and above.op_type == "Cast":
            above = made_by.get(above.input[0])
        if above is not None and above.op_type in _INTEGER:
            return above, _INTEGER[above.op_type]
    return None, True
