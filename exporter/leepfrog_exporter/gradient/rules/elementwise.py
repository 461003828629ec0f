"""Gradient rules of elementwise operators: arithmetic with broadcasting, and activations."""

from __future__ import annotations

import math
from collections.abc import Callable

from onnx import NodeProto

from leepfrog_exporter.gradient.rules.registry import Gradients, rule
from leepfrog_exporter.gradient.tape import Tape, broadcast
from leepfrog_exporter.graph.edit import attributes

# HardSigmoid clips alpha * x + beta to 0..1. With this slope it acts as a step function: a single pass, several times
# faster in onnxruntime than Greater and Where, that also keeps the channel-blocked layout of convolutions. A power of 2
# makes alpha * bound exact.
STEEP = 2.0**80
FAR = 2.0**40


def above(tape: Tape, value: str, bound: float = 0.0) -> str:
    """Emit 1 where value > bound, else 0."""
    if abs(bound) > FAR:  # beta would overflow
        value, bound = tape.emit("Sub", value, tape.constant(bound)), 0.0
    return tape.emit("HardSigmoid", value, alpha=STEEP, beta=-STEEP * bound)


def below(tape: Tape, value: str, bound: float) -> str:
    """Emit 1 where value < bound, else 0."""
    if abs(bound) > FAR:
        value, bound = tape.emit("Sub", value, tape.constant(bound)), 0.0
    return tape.emit("HardSigmoid", value, alpha=-STEEP, beta=STEEP * bound)


def _spread(tape: Tape, node: NodeProto, gradients: Gradients) -> Gradients:
    """Undo broadcasting for each input."""
    whole = broadcast(*(tape.shape(name) for name in node.input))
    return [
        None if gradient is None else tape.unbroadcast(gradient, whole, tape.shape(name))
        for gradient, name in zip(gradients, node.input, strict=True)
    ]


def _if_needed(tape: Tape, name: str, make: Callable[[], str]) -> str | None:
    return make() if name in tape.needed else None


@rule("Add", "Sum")
def add(tape: Tape, node: NodeProto, g: str) -> Gradients:
    """d(a + b) = da + db."""
    return _spread(tape, node, [_if_needed(tape, name, lambda: g) for name in node.input])


@rule("Sub")
def sub(tape: Tape, node: NodeProto, g: str) -> Gradients:
    """d(a - b) = da - db."""
    _, b = node.input
    return _spread(tape, node, [g, _if_needed(tape, b, lambda: tape.emit("Neg", g))])


@rule("Mul")
def mul(tape: Tape, node: NodeProto, g: str) -> Gradients:
    """d(ab) = b da + a db."""
    a, b = node.input
    return _spread(
        tape,
        node,
        [
            _if_needed(tape, a, lambda: tape.emit("Mul", g, b)),
            _if_needed(tape, b, lambda: tape.emit("Mul", g, a)),
        ],
    )


@rule("Div")
def div(tape: Tape, node: NodeProto, g: str) -> Gradients:
    """d(a / b) = da / b - (a / b) db / b."""
    a, b = node.input
    per_b = tape.emit("Div", g, b)
    return _spread(
        tape,
        node,
        [
            _if_needed(tape, a, lambda: per_b),
            _if_needed(tape, b, lambda: tape.emit("Neg", tape.emit("Mul", per_b, node.output[0]))),
        ],
    )


@rule("Neg")
def neg(tape: Tape, node: NodeProto, g: str) -> Gradients:
    """d(-x) = -dx."""
    return [tape.emit("Neg", g)]


@rule("Identity", "Dropout")
def identity(tape: Tape, node: NodeProto, g: str) -> Gradients:
    """dy = dx; at inference, Dropout is the identity."""
    return [g]


@rule("Sqrt")
def sqrt(tape: Tape, node: NodeProto, g: str) -> Gradients:
    """dy = dx / (2 y), with y the square root."""
    return [tape.emit("Div", tape.multiply(g, 0.5), node.output[0])]


@rule("Pow")
def power(tape: Tape, node: NodeProto, g: str) -> Gradients:
    """d x^c = c x^(c-1) dx, with c constant."""
    exponent = tape.required(node, 1, "exponent").astype(tape.dtype)
    x = node.input[0]
    if exponent.size == 1 and exponent.item() == 2:  # onnxruntime's Pow is slow
        slope = tape.multiply(x, 2.0)
    else:
        slope = tape.emit("Mul", tape.emit("Pow", x, tape.constant(exponent - 1)), tape.constant(exponent))
    gradient = tape.emit("Mul", g, slope)
    return [tape.unbroadcast(gradient, broadcast(tape.shape(x), exponent.shape), tape.shape(x))]


@rule("Relu")
def relu(tape: Tape, node: NodeProto, g: str) -> Gradients:
    """dy = dx where x > 0, else 0."""
    return [tape.emit("Mul", g, above(tape, node.output[0]))]


@rule("LeakyRelu")
def leaky_relu(tape: Tape, node: NodeProto, g: str) -> Gradients:
    """dy = dx where x > 0, else alpha dx."""
    alpha = attributes(node).get("alpha", 0.01)
    slope = tape.emit("Add", tape.multiply(above(tape, node.input[0]), 1 - alpha), tape.constant(alpha))
    return [tape.emit("Mul", g, slope)]


@rule("PRelu")
def prelu(tape: Tape, node: NodeProto, g: str) -> Gradients:
    """dy = dx where x > 0, else slope dx."""
    x, slope = node.input
    tape.required(node, 1, "slope")
    positive = above(tape, x)
    negative = tape.emit("Mul", tape.emit("Sub", tape.constant(1.0), positive), slope)
    return [tape.emit("Mul", g, tape.emit("Add", positive, negative))]


@rule("Clip")
def clip(tape: Tape, node: NodeProto, g: str) -> Gradients:
    """dy = dx where low < x < high, else 0."""
    low, high = (
        tape.required(node, i, what) if len(node.input) > i and node.input[i] else None
        for i, what in ((1, "lower bound"), (2, "upper bound"))
    )
    y = node.output[0]
    if low is not None:
        g = tape.emit("Mul", g, above(tape, y, low.item()))
    if high is not None:
        g = tape.emit("Mul", g, below(tape, y, high.item()))
    return [g]


@rule("Sigmoid")
def sigmoid(tape: Tape, node: NodeProto, g: str) -> Gradients:
    """dy = y (1 - y) dx."""
    y = node.output[0]
    return [tape.emit("Mul", g, tape.emit("Mul", y, tape.emit("Sub", tape.constant(1.0), y)))]


@rule("Tanh")
def tanh(tape: Tape, node: NodeProto, g: str) -> Gradients:
    """dy = (1 - y^2) dx."""
    y = node.output[0]
    return [tape.emit("Mul", g, tape.emit("Sub", tape.constant(1.0), tape.emit("Mul", y, y)))]


@rule("Exp")
def exp(tape: Tape, node: NodeProto, g: str) -> Gradients:
    """dy = y dx, with y the exponential of x."""
    return [tape.emit("Mul", g, node.output[0])]


@rule("Softplus")
def softplus(tape: Tape, node: NodeProto, g: str) -> Gradients:
    """d log(1 + exp(x)) = sigmoid(x) dx."""
    return [tape.emit("Mul", g, tape.emit("Sigmoid", node.input[0]))]


@rule("HardSigmoid")
def hard_sigmoid(tape: Tape, node: NodeProto, g: str) -> Gradients:
    """dy = alpha dx where 0 < y < 1, else 0."""
    y, alpha = node.output[0], attributes(node).get("alpha", 0.2)
    inside = tape.emit("Mul", above(tape, y), below(tape, y, 1.0))
    return [tape.emit("Mul", g, tape.multiply(inside, alpha))]


@rule("HardSwish")
def hard_swish(tape: Tape, node: NodeProto, g: str) -> Gradients:
    """d(x s) = (s + x/6 where 0 < s < 1) dx, with s the hard sigmoid of slope 1/6."""
    x = node.input[0]
    s = tape.emit("HardSigmoid", x, alpha=1 / 6, beta=0.5)
    inside = tape.emit("Mul", above(tape, s), below(tape, s, 1.0))
    return [tape.emit("Mul", g, tape.emit("Add", s, tape.emit("Mul", inside, tape.multiply(x, 1 / 6))))]


@rule("Erf")
def erf(tape: Tape, node: NodeProto, g: str) -> Gradients:
    """dy = 2/sqrt(pi) exp(-x^2) dx."""
    x = node.input[0]
    bell = tape.emit("Exp", tape.emit("Neg", tape.emit("Mul", x, x)))
    return [tape.emit("Mul", g, tape.multiply(bell, 2 / math.sqrt(math.pi)))]


@rule("Gelu")
def gelu(tape: Tape, node: NodeProto, g: str) -> Gradients:
    """d(x Phi) = (Phi + x phi) dx, for the exact GELU and its tanh approximation."""
    x, half = node.input[0], tape.constant(0.5)
    if attributes(node).get("approximate", b"none") == b"tanh":
        c, d = math.sqrt(2 / math.pi), 0.044715
        square = tape.emit("Mul", x, x)
        cubic = tape.emit("Add", x, tape.multiply(tape.emit("Mul", square, x), d))
        t = tape.emit("Tanh", tape.multiply(cubic, c))
        phi = tape.emit("Add", tape.emit("Mul", t, half), half)
        inner = tape.emit("Add", tape.multiply(square, 3 * d * c), tape.constant(c))
        bell = tape.emit("Mul", tape.emit("Sub", tape.constant(1.0), tape.emit("Mul", t, t)), tape.multiply(inner, 0.5))
    else:
        phi = tape.emit("Add", tape.emit("Mul", tape.emit("Erf", tape.multiply(x, math.sqrt(0.5))), half), half)
        square = tape.emit("Mul", x, x)
        bell = tape.multiply(tape.emit("Exp", tape.multiply(square, -0.5)), 1 / math.sqrt(2 * math.pi))
    return [tape.emit("Mul", g, tape.emit("Add", phi, tape.emit("Mul", x, bell)))]
