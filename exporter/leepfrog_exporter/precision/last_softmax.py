"""The final softmax, which stays in float32 at every precision."""

from __future__ import annotations

from leepfrog.inference.metadata import PROBS_OUTPUT
from onnx import GraphProto, NodeProto

from leepfrog_exporter.graph.edit import producers

PASSES_ON = ("Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Exp")


def last_softmax(graph: GraphProto) -> list[NodeProto]:
    """Return the nodes from the softmax that computes `probs` to that output; empty if there is no such softmax."""
    made_by = producers(graph)
    nodes: list[NodeProto] = []
    value = PROBS_OUTPUT
    while (node := made_by.get(value)) is not None:
        nodes.insert(0, node)
        if node.op_type in ("Softmax", "LogSoftmax"):
            return nodes
        if node.op_type not in PASSES_ON:
            break
        value = node.input[0]
    return []
