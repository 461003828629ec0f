"""Softmax and its kin, as one operator or written out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from onnx import NodeProto

Ending = Literal["logits", "softmax", "log-softmax", "sigmoid"]

_OPERATORS: dict[str, Ending] = {"Softmax": "softmax", "LogSoftmax": "log-softmax", "Sigmoid": "sigmoid"}


def softmax_at(node: NodeProto, made_by: Mapping[str, NodeProto]) -> tuple[str, Ending] | None:
    """The logits that a node turns into probabilities, and how; None for any other node.

    Found are the operators, exp(x) / sum(exp(x)) and x - log(sum(exp(x))), with or without the maximum subtracted
    first. Whether the sum runs over classes is for the parity check.

    Args:
        node: the node.
        made_by: the node that makes each value.
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
    """What an operator turns into a value; "" where another one made it."""
    node = made_by.get(value)
    return str(node.input[0]) if node is not None and node.op_type == operator else ""
