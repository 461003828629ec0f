"""Squared gradients per sample and filter, averaged over the filter's weights.

They are computed from the layer's input and the gradient of its output, so no backward pass per image is needed.

At position p of sample n, filter o of a layer returns the sum over m of w[o, m] u[n, m, p], where u is the layer's
input (M numbers per position). With g the gradient of the output, the gradient of the weights is
sum_p g[n, o, p] u[n, m, p]. Its mean square over m is computed in one of two ways, whichever needs fewer
multiplications:

direct  the gradient itself, g u' [O, M], then squares: O M P
Gram    g (u' u) g' with u' u [P, P]: P^2 (M + O)

Depthwise convolutions of images have few weights per filter and large maps, for which ONNX has no fast operators. For
them the probe returns the layer's input and the gradient of its output, and the runtime's kernel computes the rest
(`correlation_of`).
"""

from __future__ import annotations

import dataclasses

from leepfrog.errors import ModelError
from leepfrog.task2vec.probe import Correlation
from onnx import NodeProto

from leepfrog_exporter.gradient.rules.linear import turned
from leepfrog_exporter.gradient.tape import Shape, Tape
from leepfrog_exporter.gradient.window import Window
from leepfrog_exporter.graph.edit import attributes, describe

WEIGHTED = ("Conv", "Gemm", "MatMul")


@dataclasses.dataclass(frozen=True)
class Layer:
    """A convolution or linear layer with constant weights.

    Attributes:
        node: node that computes the layer.
        weight: name of the weights.
        n_filters: number of output channels or units, O.
        n_weights: number of weights per filter without bias, M.
        kind: type of the layer: "conv", "depthwise" or "linear".
    """

    node: NodeProto
    weight: str
    n_filters: int
    n_weights: int
    kind: str


def layer_of(tape: Tape, node: NodeProto) -> Layer | None:
    """Return the layer that a node computes; None if it is not a layer."""
    if node.op_type not in WEIGHTED or node.domain not in ("", "ai.onnx"):
        return None
    weights = tape.array(node.input[1])
    if weights is None or tape.array(node.input[0]) is not None:
        return None
    if node.op_type == "Conv":
        depthwise = weights.shape[1] == 1 and attributes(node).get("group", 1) > 1
        n_weights = int(weights[0].size)
        return Layer(node, node.input[1], weights.shape[0], n_weights, "depthwise" if depthwise else "conv")
    if weights.ndim != 2:
        return None
    n_in, n_out = weights.shape[::-1] if attributes(node).get("transB", 0) else weights.shape
    return Layer(node, node.input[1], n_out, n_in, "linear")


def correlation_of(tape: Tape, layer: Layer, gradient: str) -> Correlation | None:
    """Return the correlation from which the runtime computes a layer's squared gradients; None if the graph does."""
    node = layer.node
    seen = node.input[0]
    if layer.kind != "depthwise" or len(tape.shape(seen)) != 4 or {seen, gradient} & tape.inputs:
        return None
    window = Window.of(tape, node, tape.required(node, 1, "weight").shape[2:])
    return Correlation(
        seen, gradient, _pair(window.kernel), _pair(window.strides), _pair(window.dilations), _pair(window.begin)
    )


def _pair(axes: Shape) -> tuple[int, int]:
    vertical, horizontal = axes
    return vertical, horizontal


def squared_gradients(tape: Tape, layer: Layer, gradient: str) -> str:
    """Emit the squared gradient averaged over each filter's weights, [N, O].

    Args:
        tape: tape on which the nodes are written.
        layer: the layer.
        gradient: name of the gradient of its output.
    """
    total = _conv(tape, layer, gradient) if layer.node.op_type == "Conv" else _linear(tape, layer, gradient)
    # A Gemm's alpha scales the input of its weights.
    alpha = attributes(layer.node).get("alpha", 1.0)
    return tape.multiply(total, alpha**2 / layer.n_weights)


def _conv(tape: Tape, layer: Layer, gradient: str) -> str:
    node, n_out = layer.node, layer.n_filters
    weights = tape.required(node, 1, "weight")
    group = attributes(node).get("group", 1)
    channels, n_kernel = weights.shape[1], layer.n_weights // weights.shape[1]
    window = Window.of(tape, node, weights.shape[2:])
    positions = 1
    for length in window.outputs:
        positions *= length
    g = tape.reshape(gradient, (-1, group, n_out // group, positions))
    if window.is_pointwise:
        u = tape.reshape(node.input[0], (-1, group, channels, positions))
    else:
        # The order of a filter's weights does not matter, since their gradients are only squared and summed.
        seen = [
            tape.reshape(value, (-1, group, channels, positions)) for value in window.positions(tape, node.input[0])
        ]
        u = seen[0] if n_kernel == 1 else tape.emit("Concat", *seen, axis=2)
    shape = (-1, group, layer.n_weights, positions)
    direct = n_out * layer.n_weights * positions
    gram = positions**2 * (group * layer.n_weights + n_out)
    if direct <= gram:
        formed = tape.emit("MatMul", g, turned(tape, u, shape))
        total = tape.emit("ReduceSumSquare", formed, tape.integers([3]), keepdims=0)
    else:
        kernel = tape.emit("MatMul", turned(tape, u, shape), u)
        total = tape.sum(tape.emit("Mul", tape.emit("MatMul", g, kernel), g), [3])
    return tape.reshape(total, (-1, n_out))


def _linear(tape: Tape, layer: Layer, gradient: str) -> str:
    x, n_in, n_out = layer.node.input[0], layer.n_weights, layer.n_filters
    positions = _positions(layer.node, tape.shape(x))
    if positions == 1:
        u, g = tape.reshape(x, (-1, n_in)), tape.reshape(gradient, (-1, n_out))
        length = tape.emit("ReduceSumSquare", u, tape.integers([1]), keepdims=1)
        return tape.emit("Mul", tape.emit("Mul", g, g), length)
    u, g = tape.reshape(x, (-1, positions, n_in)), tape.reshape(gradient, (-1, positions, n_out))
    if n_out * n_in * positions <= positions**2 * (n_in + n_out):
        formed = tape.emit("MatMul", turned(tape, g, (-1, positions, n_out)), u)
        return tape.emit("ReduceSumSquare", formed, tape.integers([2]), keepdims=0)
    kernel = tape.emit("MatMul", u, turned(tape, u, (-1, positions, n_in)))
    return tape.sum(tape.emit("Mul", tape.emit("MatMul", kernel, g), g), [1])


def _positions(node: NodeProto, shape: Shape) -> int:
    """Return the number of rows per sample in a linear layer's input."""
    positions = 1
    for axis, length in enumerate(shape[:-1]):
        if length < 0 and axis:
            raise ModelError(f"cannot compute the gradient of {describe(node)}: the batch is not its first axis")
        positions *= abs(length)
    return positions
