"""What stays in float32 whatever the precision."""

from __future__ import annotations

from leepfrog.inference.metadata import PROBS_OUTPUT
from onnx import GraphProto

from leepfrog_exporter.graph.edit import producers

PASSES_ON = ("Identity", "Cast", "Reshape", "Flatten", "Squeeze")


def last_softmax(graph: GraphProto) -> list[str]:
    """Names of the nodes from the softmax to the output `probs`."""
    made_by = producers(graph)
    found = []
    value = PROBS_OUTPUT
    while (node := made_by.get(value)) is not None and node.op_type in (*PASSES_ON, "Softmax", "Exp", "LogSoftmax"):
        found.append(node.name)
        if node.op_type in ("Softmax", "LogSoftmax"):
            break
        value = node.input[0]
    return found
