"""Gradient rules of operators that move values without changing them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from leepfrog.errors import ModelError
from onnx import NodeProto, numpy_helper

from leepfrog_exporter.gradient.rules.registry import Gradients, rule, rule_of_outputs
from leepfrog_exporter.gradient.tape import Shape, Tape
from leepfrog_exporter.gradient.window import pad, spread
from leepfrog_exporter.graph.edit import attributes, describe


@rule("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(tape: Tape, node: NodeProto, g: str) -> Gradients:
    """Reshape the gradient to the input's shape."""
    return [tape.reshape(g, tape.shape(node.input[0]))]


@rule("Transpose")
def transpose(tape: Tape, node: NodeProto, g: str) -> Gradients:
    """Apply the inverse permutation."""
    rank = len(tape.shape(node.input[0]))
    order = attributes(node).get("perm") or range(rank)[::-1]
    return [tape.emit("Transpose", g, perm=np.argsort(order).tolist())]


@rule("Expand")
def expand(tape: Tape, node: NodeProto, g: str) -> Gradients:
    """Sum over the repeated axes."""
    return [tape.unbroadcast(g, tape.shape(node.output[0]), tape.shape(node.input[0]))]


@rule("Concat")
def concat(tape: Tape, node: NodeProto, g: str) -> Gradients:
    """Split the gradient into the parts of the inputs."""
    rank = len(tape.shape(node.output[0]))
    axis = attributes(node)["axis"] % rank
    lengths = [tape.shape(name)[axis] for name in node.input]
    _check_fixed(node, lengths)
    parts = tape.emit_many(len(lengths), "Split", g, tape.integers(lengths), axis=axis)
    return [part if name in tape.needed else None for part, name in zip(parts, node.input, strict=True)]


@rule_of_outputs("Split")
def split(tape: Tape, node: NodeProto, gradients: Gradients) -> Gradients:
    """Concatenate the gradients, with zeros for unused parts."""
    axis = attributes(node).get("axis", 0)
    zero = numpy_helper.from_array(np.zeros(1, tape.dtype))
    parts = [
        tape.emit("ConstantOfShape", tape.emit("Shape", name), value=zero) if g is None else g
        for g, name in zip(gradients, node.output, strict=True)
    ]
    return [tape.emit("Concat", *parts, axis=axis)]


@rule("Slice")
def slice_(tape: Tape, node: NodeProto, g: str) -> Gradients:
    """Put the gradient back at the sliced positions, with zeros elsewhere."""
    shape, taken = tape.shape(node.input[0]), tape.shape(node.output[0])
    given = {
        what: tape.required(node, i, what).tolist()
        for i, what in enumerate(("starts", "ends", "axes", "steps"), start=1)
        if i < len(node.input) and node.input[i]
    }
    starts = given["starts"]
    axes, steps = given.get("axes", range(len(starts))), given.get("steps", [1] * len(starts))
    for start, counted, step in zip(starts, axes, steps, strict=True):
        axis = counted % len(shape)
        length, n = shape[axis], taken[axis]
        if step < 0:
            raise ModelError(f"cannot differentiate {describe(node)}: negative steps are not supported")
        if length == n:
            continue
        _check_fixed(node, (length, n))
        first = min(max(start + length if start < 0 else start, 0), length)
        g = spread(tape, g, (*taken[:axis], n, *taken[axis + 1 :]), {axis: step})
        g = pad(tape, g, {axis: (first, length - first - n * step)}, len(shape))
        taken = (*taken[:axis], length, *taken[axis + 1 :])
    return [g]


@rule("Gather")
def gather(tape: Tape, node: NodeProto, g: str) -> Gradients:
    """Add the gradient at the gathered positions; for inputs with several axes, indices must be constant."""
    shape = tape.shape(node.input[0])
    if len(shape) == 1:  # torch's form of as_strided, with indices that depend on the batch size
        return [tape.scatter_add(node.input[0], node.input[1], g)]
    axis = attributes(node).get("axis", 0) % len(shape)
    length = shape[axis]
    _check_fixed(node, (length,))
    indices = tape.required(node, 1, "index")
    flat = indices.ravel() % length
    n = flat.size
    g = tape.reshape(g, (*shape[:axis], n, *shape[axis + 1 :]))
    first = int(flat[0])
    if np.array_equal(flat, np.arange(first, first + n)):
        return [pad(tape, g, {axis: (first, length - first - n)}, len(shape))]
    order = [i for i in range(len(shape)) if i != axis] + [axis]
    picked = np.zeros((n, length))
    picked[np.arange(n), flat] = 1
    last = tape.emit("MatMul", tape.emit("Transpose", g, perm=order), tape.constant(picked))
    return [tape.emit("Transpose", last, perm=np.argsort(order).tolist())]


@rule("Pad")
def pad_(tape: Tape, node: NodeProto, g: str) -> Gradients:
    """Crop the padding."""
    if attributes(node).get("mode", b"constant") != b"constant":
        raise ModelError(f"cannot differentiate {describe(node)}: only constant padding is supported")
    rank = len(tape.shape(node.input[0]))
    amounts = tape.required(node, 1, "padding").tolist()
    axes = list(range(rank))
    if len(node.input) > 3 and node.input[3]:
        axes = [axis % rank for axis in tape.required(node, 3, "axes").tolist()]
    n = len(amounts) // 2
    cut = {axis: (-before, -after) for axis, before, after in zip(axes, amounts[:n], amounts[n:], strict=True)}
    return [pad(tape, g, cut, rank)]


def _check_fixed(node: NodeProto, lengths: Sequence[int] | Shape) -> None:
    if min(lengths) < 0:
        raise ModelError(f"cannot differentiate {describe(node)}: it acts on the batch axis")
