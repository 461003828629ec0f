"""Heads with a linear layer (Gemm or MatMul), whose input is the features."""

from __future__ import annotations

from leepfrog_exporter.graph.edit import attributes
from leepfrog_exporter.graph.heads.base import Head, linear_head
from leepfrog_exporter.graph.tail import Tail

PRIORITY = 10


def head(tail: Tail) -> Head | None:
    """Return the head of a network that ends in a linear layer with constant weights."""
    if tail.node.op_type not in ("Gemm", "MatMul") or not tail.has_weights:
        return None
    weights, transposed = tail.weights
    transposed ^= bool(attributes(tail.node).get("transB", 0))
    return linear_head(tail, weights=weights, outputs_axis=0 if transposed else -1, channels_last=True)
