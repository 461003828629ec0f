"""The tail of a graph: the nodes between its last linear layer, if there is one, and its output.

It is found by walking back from the output and skipping operators that neither mix nor add classes: reshaping, pooling
over space, activations, a constant bias or scale. One Softmax, LogSoftmax or Sigmoid is skipped as well, also in
decomposed form (graph/softmax.py); its input is the logits. The walk ends at the first other node.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from leepfrog.errors import ModelError
from onnx import GraphProto, NodeProto, TensorProto

from leepfrog_exporter.graph.edit import constant_number, constants, describe, producers, stored
from leepfrog_exporter.graph.purity import mixing_node
from leepfrog_exporter.graph.softmax import Ending, softmax_at

_ACTIVATIONS = {"Relu", "Clip"}
_PASSED_OVER = _ACTIVATIONS | {
    "Identity", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Cast", "Dropout", "GlobalAveragePool",
    "AveragePool", "ReduceMean", "GlobalMaxPool", "ReduceMax", "ReduceSum", "QuantizeLinear", "DequantizeLinear",
    "QLinearGlobalAveragePool", "QLinearAveragePool", "QLinearReduceMean",
}  # fmt: skip
_STORED_WEIGHTS = {"Transpose", "Identity", "Cast", "DequantizeLinear"}
_WITH_A_CONSTANT = {"Add", "Sub", "Mul", "Div", "QLinearAdd", "QLinearMul"}


@dataclasses.dataclass(frozen=True)
class Tail:
    """The nodes from `node`, the first one that cannot be skipped, to a graph's output.

    Attributes:
        graph: the graph.
        output: name of its output.
        node: node at which the walk ended.
        logits: name of the value to which a softmax over classes applies.
        ends_in: kind of the output.
        ending: description of the softmax, log-softmax or sigmoid; "" if there is none.
        altered: description of a node between softmax and output that may change probabilities; "" if there is none.
        activation: description of an activation between `node` and the output; "" if there is none.
        paired: whether the logits are 0 and z, built from the single logit z that `node` leads to.
        rounding: step by which the output is rounded after a softmax; 0 if it is not.
        made_by: node that produces each value.
        constant: names of the values that do not depend on the graph's inputs.
    """

    graph: GraphProto
    output: str
    node: NodeProto
    logits: str
    ends_in: Ending
    ending: str
    altered: str
    activation: str
    paired: bool
    rounding: float
    made_by: Mapping[str, NodeProto]
    constant: set[str]

    @property
    def has_weights(self) -> bool:
        """Whether the node applies constant weights, its second input, to a value that depends on the image."""
        inputs = self.node.input
        return len(inputs) > 1 and inputs[0] not in self.constant and inputs[1] in self.constant

    @property
    def weights(self) -> tuple[TensorProto | None, bool]:
        """The weights as stored (None if they are computed), and whether the node uses them transposed."""
        name, transposed = self.node.input[1], False
        while (node := self.made_by.get(name)) is not None and node.op_type in _STORED_WEIGHTS:
            transposed ^= node.op_type == "Transpose"
            name = node.input[0]
        return stored(self.graph).get(name), transposed

    @property
    def refusal(self) -> str:
        """Error message explaining why the graph does not end like a classifier."""
        if mixing := mixing_node(self.graph):
            return f"refused: {mixing}"
        return (
            f"cannot find the last linear layer: {describe(self.node)} is not supported before the output; expected "
            "Gemm, MatMul or a 1x1 Conv, followed only by reshaping, pooling, a bias or Softmax"
        )


def tail_of(graph: GraphProto, output: str) -> Tail:
    """Return the tail of a graph.

    Raises:
        ModelError: all nodes between input and output can be skipped.
    """
    made_by, constant = producers(graph), constants(graph)
    value, logits = output, output
    ends_in: Ending = "logits"
    ending, changed, altered, activation, paired, rounding = "", "", "", "", False, 0.0
    while (node := made_by.get(value)) is not None:
        if ends_in == "logits" and (softmax := softmax_at(node, made_by)) is not None:
            logits, ends_in = softmax
            value, altered, ending = logits, changed, describe(node)
        elif (single := _of_two_logits(node, made_by)) is not None:
            value, logits, paired = single, single, True
        elif node.op_type in _PASSED_OVER:
            if node.op_type in _ACTIVATIONS:
                activation = describe(node)
            if node.op_type == "QuantizeLinear" and ends_in == "logits":
                rounding = constant_number(graph, node.input[1]) or 0.0
            value = node.input[0]
        elif node.op_type in _WITH_A_CONSTANT and sum(name not in constant for name in node.input) == 1:
            changed = describe(node)
            value = next(name for name in node.input if name not in constant)
        else:
            return Tail(
                graph, output, node, logits, ends_in, ending, altered, activation, paired,
                rounding if ends_in != "logits" else 0.0, made_by, constant,
            )  # fmt: skip
    raise ModelError(f"no linear layer between input and output {output!r}, so it is not a classifier")


def _of_two_logits(node: NodeProto, made_by: Mapping[str, NodeProto]) -> str | None:
    """Return the logit z of a Concat of 0 and z, as created by `attach_outputs`; None for any other node."""
    if node.op_type != "Concat" or len(node.input) != 2:
        return None
    zero = made_by.get(node.input[0])
    return node.input[1] if zero is not None and zero.op_type == "Mul" and zero.input[0] == node.input[1] else None
