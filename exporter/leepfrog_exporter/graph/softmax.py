"""Detection of softmax, log-softmax and sigmoid, as single operators or decomposed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from onnx import GraphProto, NodeProto, helper

Ending = Literal["logits", "softmax", "log-softmax", "sigmoid"]

_OPERATORS: dict[str, Ending] = {"Softmax": "softmax", "LogSoftmax": "log-softmax", "Sigmoid": "sigmoid"}


def softmax_at(node: NodeProto, made_by: Mapping[str, NodeProto]) -> tuple[str, Ending] | None:
    """Return the logits that a node turns into probabilities, and the kind of its output; None for any other node.

    Recognizes the operators, exp(x) / sum(exp(x)) and x - log(sum(exp(x))), with or without subtraction of the maximum.
    The parity check later verifies that the sum runs over classes.

    Args:
        node: the node.
        made_by: node that produces each value.
    """
    if node.op_type in _OPERATORS:
        return node.input[0], _OPERATORS[node.op_type]
    if node.op_type in ("Div", "Mul"):
        exp, total = node.input
        if node.op_type == "Mul":
            total = _input_of("Reciprocal", total, made_by)
        x = _input_of("Exp", exp, made_by)
        if x and _input_of("ReduceSum", total, made_by) == exp:
            return _without_maximum(x, made_by), "softmax"
    if node.op_type == "Sub":
        x, total = node.input
        summed = _input_of("ReduceSum", _input_of("Log", total, made_by), made_by)
        if x in (_input_of("ReduceLogSumExp", total, made_by), _input_of("Exp", summed, made_by)):
            return _without_maximum(x, made_by), "log-softmax"
    return None


def _without_maximum(value: str, made_by: Mapping[str, NodeProto]) -> str:
    node = made_by.get(value)
    if node is not None and node.op_type == "Sub" and _input_of("ReduceMax", node.input[1], made_by) == node.input[0]:
        return str(node.input[0])
    return value


def _input_of(operator: str, value: str, made_by: Mapping[str, NodeProto]) -> str:
    """Return the first input of the operator that produced a value; "" if another operator produced it."""
    node = made_by.get(value)
    return str(node.input[0]) if node is not None and node.op_type == operator else ""


def expand_quantized_softmax(graph: GraphProto) -> None:
    """Replace each QLinearSoftmax, whose input and output are integers, by a Softmax of floats between conversions."""
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node.op_type != "QLinearSoftmax":
            nodes.append(node)
            continue
        x, x_scale, x_zero, y_scale, y_zero = node.input
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), -1)
        real, probs = f"{node.output[0]}_logits", f"{node.output[0]}_probs"
        nodes += [
            helper.make_node("DequantizeLinear", [x, x_scale, x_zero], [real]),
            helper.make_node("Softmax", [real], [probs], axis=axis),
            helper.make_node("QuantizeLinear", [probs, y_scale, y_zero], node.output),
        ]
    del graph.node[:]
    graph.node.extend(nodes)
