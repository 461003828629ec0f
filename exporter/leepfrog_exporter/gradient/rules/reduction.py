"""Gradient rules of means, sums, normalizations and softmax: operators that combine values along axes."""

from __future__ import annotations

import numpy as np
from leepfrog.errors import ModelError
from onnx import NodeProto

from leepfrog_exporter.gradient.rules.registry import Gradients, rule
from leepfrog_exporter.gradient.tape import Tape
from leepfrog_exporter.graph.edit import attributes, describe


@rule("ReduceMean", "ReduceSum")
def reduce(tape: Tape, node: NodeProto, g: str) -> Gradients:
    """Distribute the gradient to all reduced values; a mean divides it equally."""
    given, shape = attributes(node), tape.shape(node.input[0])
    axes = given.get("axes")
    if len(node.input) > 1 and node.input[1]:
        axes = tape.required(node, 1, "axes").tolist()
    if not axes and given.get("noop_with_empty_axes", 0):
        return [g]
    reduced = {axis % len(shape) for axis in axes} if axes else set(range(len(shape)))
    if any(shape[axis] < 0 for axis in reduced):
        raise ModelError(f"cannot differentiate {describe(node)}: it reduces the batch axis")
    if not given.get("keepdims", 1):
        g = tape.reshape(g, tuple(1 if axis in reduced else n for axis, n in enumerate(shape)))
    lengths = [n if axis in reduced else 1 for axis, n in enumerate(shape)]
    return [
        tape.emit(
            "Mul", g, tape.constant(np.full(lengths, 1 / np.prod(lengths) if node.op_type == "ReduceMean" else 1))
        )
    ]


@rule("BatchNormalization")
def batch_normalization(tape: Tape, node: NodeProto, g: str) -> Gradients:
    """Scale per channel by scale / sqrt(variance + epsilon)."""
    given = attributes(node)
    if given.get("training_mode", 0):
        raise ModelError(f"cannot differentiate {describe(node)}: it is in training mode")
    scale, variance = tape.required(node, 1, "scale"), tape.required(node, 4, "variance")
    factor = scale / np.sqrt(variance.astype(np.float64) + given.get("epsilon", 1e-5))
    return [tape.emit("Mul", g, tape.constant(factor.reshape(-1, *[1] * (len(tape.shape(node.input[0])) - 2))))]


@rule("LayerNormalization")
def layer_normalization(tape: Tape, node: NodeProto, g: str) -> Gradients:
    """dx = (h - mean h - z mean(h z)) / sd, with z the normalized input and h = scale dy."""
    given, x = attributes(node), node.input[0]
    shape = tape.shape(x)
    first = given.get("axis", -1) % len(shape)
    axes = range(first, len(shape))
    n = int(np.prod(shape[first:]))

    def mean(value: str) -> str:
        return tape.multiply(tape.sum(value, axes, keep=True), 1 / n)

    centered = tape.emit("Sub", x, mean(x))
    variance = mean(tape.emit("Mul", centered, centered))
    sd = tape.emit("Sqrt", tape.emit("Add", variance, tape.constant(given.get("epsilon", 1e-5))))
    z = tape.emit("Div", centered, sd)
    h = tape.emit("Mul", g, tape.constant(tape.required(node, 1, "scale")))
    inner = tape.emit("Sub", tape.emit("Sub", h, mean(h)), tape.emit("Mul", z, mean(tape.emit("Mul", h, z))))
    return [tape.emit("Div", inner, sd)]


@rule("Softmax")
def softmax(tape: Tape, node: NodeProto, g: str) -> Gradients:
    """dx = y (dy - sum(y dy))."""
    y, axis = node.output[0], attributes(node).get("axis", -1)
    total = tape.sum(tape.emit("Mul", g, y), [axis], keep=True)
    return [tape.emit("Mul", y, tape.emit("Sub", g, total))]


@rule("LogSoftmax")
def log_softmax(tape: Tape, node: NodeProto, g: str) -> Gradients:
    """dx = dy - exp(y) sum(dy)."""
    total = tape.sum(g, [attributes(node).get("axis", -1)], keep=True)
    return [tape.emit("Sub", g, tape.emit("Mul", tape.emit("Exp", node.output[0]), total))]
