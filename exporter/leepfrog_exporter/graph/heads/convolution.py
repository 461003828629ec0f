"""Heads with a 1x1 convolution, as in SqueezeNet; its input, averaged over space, gives the features."""

from __future__ import annotations

from leepfrog_exporter.graph.edit import attributes
from leepfrog_exporter.graph.heads.base import Head, linear_head
from leepfrog_exporter.graph.tail import Tail

PRIORITY = 20


def head(tail: Tail) -> Head | None:
    """Return the head of a network that ends in a 1x1 convolution over all channels, with constant weights."""
    if tail.node.op_type != "Conv" or not tail.has_weights:
        return None
    weights, transposed = tail.weights
    given = attributes(tail.node)
    kernel = given.get("kernel_shape", () if weights is None or transposed else weights.dims[2:])
    if list(kernel) != [1, 1] or given.get("group", 1) != 1:
        return None
    return linear_head(tail, weights=weights, outputs_axis=0, channels_last=False)
