"""Checks of gradient rules against finite differences in float64, for single nodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from leepfrog_exporter.gradient.rules import rule_of
from leepfrog_exporter.gradient.tape import Tape, measured_shapes
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from reference.operators import OPSET, Erf, Gelu, MaxPool

Floats = NDArray[np.float64]


@dataclasses.dataclass
class Case:
    """Node to differentiate.

    Attributes:
        operator: ONNX operator type.
        active: shapes of the differentiable inputs by name, without the leading batch axis.
        constants: values of the other inputs by name.
        order: names of all inputs in order, if the constants do not simply follow the active inputs.
        attributes: attributes of the node.
        n_outputs: number of outputs.
        values: function that draws the active inputs; must avoid kinks.
    """

    operator: str
    active: dict[str, tuple[int, ...]]
    constants: dict[str, NDArray[Any]] = dataclasses.field(default_factory=dict)
    order: tuple[str, ...] = ()
    attributes: dict[str, Any] = dataclasses.field(default_factory=dict)
    n_outputs: int = 1
    values: Callable[[np.random.Generator, tuple[int, ...]], Floats] = lambda rng, shape: rng.standard_normal(shape)


def between_kinks(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Draw values of either sign at least 0.01 away from multiples of 0.5, where all activations have their kinks."""
    return rng.integers(-9, 9, shape) / 2 + rng.uniform(0.01, 0.49, shape)


def positive(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    return rng.uniform(0.5, 2, shape)


def all_different(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    return rng.permutation(int(np.prod(shape))).reshape(shape) / 10


sizes = st.integers(1, 4)
shapes = st.lists(sizes, min_size=1, max_size=3).map(tuple)
seeds = st.integers(0, 2**31)


def check_rule(case: Case, seed: int) -> None:
    """Check that the rule's vector-Jacobian product equals the central difference along random directions."""
    rng = np.random.default_rng(seed)
    order = case.order or (*case.active, *case.constants)
    outputs = [f"y{i}" for i in range(case.n_outputs)]
    node = helper.make_node(case.operator, list(order), outputs, **case.attributes)
    constants = [numpy_helper.from_array(np.asarray(array), name) for name, array in case.constants.items()]
    inputs = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, None) for name in case.active]
    feeds = {n: {name: case.values(rng, (n, *shape)) for name, shape in case.active.items()} for n in (2, 3)}

    def evaluator(nodes: list[onnx.NodeProto], more: list[Any], wanted: list[str], extra: list[str]) -> Any:
        known = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, None) for name in extra]
        shown = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, None) for name in wanted]
        graph = helper.make_graph(nodes, "case", [*inputs, *known], shown, [*constants, *more])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        return ReferenceEvaluator(model, new_ops=[Erf, Gelu, MaxPool])

    forward = evaluator([node], [], outputs, [])
    runs = {n: dict(zip(outputs, forward.run(None, feeds[n]), strict=True)) for n in (2, 3)}
    graph = helper.make_graph([node], "case", inputs, [], constants)
    tape = Tape(graph, measured_shapes(feeds[2] | runs[2], feeds[3] | runs[3]), np.dtype(np.float64), OPSET)
    tape.needed = {*case.active, *outputs}
    cotangents = {f"g{i}": rng.standard_normal(runs[2][name].shape) for i, name in enumerate(outputs)}
    gradients = dict(zip(order, rule_of(node)(tape, node, list(cotangents)), strict=False))
    more = [numpy_helper.from_array(array, name) for name, array in tape.constants.items()]
    backward = evaluator([node, *tape.nodes], more, [gradients[name] for name in case.active], list(cotangents))
    found = dict(zip(case.active, backward.run(None, feeds[2] | cotangents), strict=True))

    def inner(at: dict[str, Floats]) -> float:
        return float(sum(np.vdot(c, y) for c, y in zip(cotangents.values(), forward.run(None, at), strict=True)))

    for name, gradient in found.items():
        assert gradient.shape == feeds[2][name].shape
        assert gradient.dtype == np.float64
        for _ in range(3):
            direction, h = rng.standard_normal(gradient.shape), 1e-5
            ahead, behind = (inner({**feeds[2], name: feeds[2][name] + sign * h * direction}) for sign in (1, -1))
            expected = (ahead - behind) / (2 * h)
            scale = np.linalg.norm(gradient) * np.linalg.norm(direction) + 1e-3
            assert abs(np.vdot(gradient, direction) - expected) <= 1e-6 * scale, (case, name)
