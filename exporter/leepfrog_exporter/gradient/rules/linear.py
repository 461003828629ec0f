"""Gradient rules of convolutions and matrix products, for their inputs. For their weights, see filters.py."""

from __future__ import annotations

import numpy as np
from leepfrog.errors import ModelError
from onnx import NodeProto

from leepfrog_exporter.gradient.rules.registry import Gradients, rule
from leepfrog_exporter.gradient.tape import Shape, Tape
from leepfrog_exporter.gradient.window import Window
from leepfrog_exporter.graph.edit import attributes, describe


@rule("Conv")
def conv(tape: Tape, node: NodeProto, g: str) -> Gradients:
    """Apply the transposed convolution with the same weights."""
    weights = tape.required(node, 1, "weight")
    group = attributes(node).get("group", 1)
    n_out, kernel = weights.shape[0], weights.shape[2:]
    window = Window.of(tape, node, kernel)
    swapped = weights.reshape(group, n_out // group, -1, *kernel).swapaxes(1, 2)
    swapped = np.flip(swapped, axis=tuple(range(3, swapped.ndim))).reshape(-1, n_out // group, *kernel)
    return [window.transposed(tape, g, n_out, swapped, group)]


@rule("Gemm")
def gemm(tape: Tape, node: NodeProto, g: str) -> Gradients:
    """d(alpha A B + beta C) = alpha dA B, with B and C constant."""
    given = attributes(node)
    if given.get("transA", 0):
        raise ModelError(f"cannot differentiate {describe(node)}: transA is not supported")
    weights = tape.required(node, 1, "weight")
    return [
        tape.multiply(
            tape.emit("MatMul", g, tape.constant(weights if given.get("transB", 0) else weights.T)),
            given.get("alpha", 1.0),
        )
    ]


@rule("MatMul")
def matmul(tape: Tape, node: NodeProto, g: str) -> Gradients:
    """d(AB) = dA B + A dB, with broadcasting of stacked matrices."""
    a, b = node.input
    shape_a, shape_b, whole = tape.shape(a), tape.shape(b), tape.shape(node.output[0])
    if min(len(shape_a), len(shape_b)) < 2:
        raise ModelError(f"cannot differentiate {describe(node)}: vector operands are not supported")
    gradients: list[str | None] = [None, None]
    if a in tape.needed:
        product = tape.emit("MatMul", g, _turned(tape, b))
        gradients[0] = tape.unbroadcast(product, (*whole[:-2], *shape_a[-2:]), shape_a)
    if b in tape.needed:
        product = tape.emit("MatMul", _turned(tape, a), g)
        gradients[1] = tape.unbroadcast(product, (*whole[:-2], *shape_b[-2:]), shape_b)
    return gradients


def _turned(tape: Tape, value: str) -> str:
    """Swap the last two axes of a value, which may be a constant."""
    array = tape.array(value)
    if array is not None:
        return tape.constant(array.swapaxes(-1, -2))
    return turned(tape, value, tape.shape(value))


def turned(tape: Tape, value: str, shape: Shape) -> str:
    """Swap the last two axes of a value with the given shape."""
    axes = list(range(len(shape)))
    return tape.emit("Transpose", value, perm=[*axes[:-2], axes[-1], axes[-2]])
