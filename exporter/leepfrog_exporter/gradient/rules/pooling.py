"""Gradient rules of pooling operators."""

from __future__ import annotations

import numpy as np
from leepfrog.errors import ModelError
from onnx import NodeProto

from leepfrog_exporter.gradient.rules.registry import Gradients, rule
from leepfrog_exporter.gradient.tape import Tape
from leepfrog_exporter.gradient.window import Window
from leepfrog_exporter.graph.edit import attributes, describe


@rule("AveragePool")
def average_pool(tape: Tape, node: NodeProto, g: str) -> Gradients:
    """Divide each output's gradient equally among the positions of its window."""
    window, given = Window.of(tape, node), attributes(node)
    channels = tape.shape(node.input[0])[1]
    counts = np.ones(window.outputs)
    for axis, (p, s, d, k, b, h) in enumerate(
        zip(window.outputs, window.strides, window.dilations, window.kernel, window.begin, window.inputs, strict=True)
    ):
        at = np.arange(p)[:, None] * s + np.arange(k) * d - b
        # Padding counts if count_include_pad is set; positions beyond the padding (ceil_mode) never count.
        end = tuple(given.get("pads") or (0,) * 2 * len(window.kernel))[len(window.kernel) + axis]
        low, high = (-b, h + end) if given.get("count_include_pad", 0) else (0, h)
        shape = [1] * counts.ndim
        shape[axis] = p
        counts = counts * ((at >= low) & (at < high)).sum(axis=1).reshape(shape)
    shared = tape.emit("Mul", g, tape.constant(1 / counts))
    return [window.transposed(tape, shared, channels, np.ones((channels, 1, *window.kernel)), channels)]


@rule("GlobalAveragePool")
def global_average_pool(tape: Tape, node: NodeProto, g: str) -> Gradients:
    """Divide the gradient equally among all positions."""
    inputs = tape.shape(node.input[0])[2:]
    return [tape.emit("Mul", g, tape.constant(np.full(inputs, 1 / np.prod(inputs))))]


@rule("MaxPool")
def max_pool(tape: Tape, node: NodeProto, g: str) -> Gradients:
    """Pass each output's gradient to the first maximum of its window; overlapping windows add up."""
    if attributes(node).get("storage_order", 0):
        raise ModelError(f"cannot differentiate {describe(node)}: storage_order 1 is not supported")
    if len(node.output) < 2:
        node.output.append(f"{node.output[0]}_gradient_indices")
    return [tape.scatter_add(node.input[0], node.output[1], g)]


@rule("GlobalMaxPool")
def global_max_pool(tape: Tape, node: NodeProto, g: str) -> Gradients:
    """Pass the gradient to the first maximum."""
    _, indices = tape.emit_many(2, "MaxPool", node.input[0], kernel_shape=tape.shape(node.input[0])[2:])
    return [tape.scatter_add(node.input[0], indices, g)]
