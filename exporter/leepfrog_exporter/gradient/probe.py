"""Probe models: from an image and the gradient of its features to the squared gradients of every filter."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import onnx
from leepfrog.errors import ModelError
from leepfrog.inference.metadata import FEATURES_OUTPUT, IMAGE_INPUT
from onnx import TensorProto, helper, numpy_helper

from leepfrog_exporter.gradient.backward import layers_of, sweep
from leepfrog_exporter.gradient.filters import Layer
from leepfrog_exporter.gradient.simplify import OPSET, all_values, simplified
from leepfrog_exporter.gradient.tape import Tape, measured_shapes
from leepfrog_exporter.graph.edit import describe

COTANGENT_INPUT = "cotangent"
FISHER_OUTPUT = "fisher"


@dataclasses.dataclass(frozen=True)
class Probe:
    """A probe model and what its outputs are.

    Attributes:
        model: image [N, 3, H, W], cotangent [N, D] -> fisher [N, F].
        layers: in forward order; their filters stand one after the other in `fisher`.
    """

    model: onnx.ModelProto
    layers: Sequence[Layer]


def build(scoring: onnx.ModelProto, skip: int = 0) -> Probe:
    """Differentiate a scoring model.

    Args:
        scoring: with the input `image` and the output `features`.
        skip: leave out so many layers, the first ones.

    Raises:
        ModelError: an operator has no rule; the message names the node.
    """
    forward = simplified(scoring, FEATURES_OUTPUT)
    graph = forward.graph
    size = [axis.dim_value for axis in graph.input[0].type.tensor_type.shape.dim][1:]
    rng = np.random.default_rng(0)
    images = rng.standard_normal((3, *size)).astype(np.float32)
    two, three = (all_values(forward, {IMAGE_INPUT: images[:n]}) for n in (2, 3))
    opset = next(entry.version for entry in forward.opset_import if entry.domain in ("", "ai.onnx"))
    tape = Tape(graph, measured_shapes(two, three), np.dtype(np.float32), opset)
    layers = layers_of(tape, graph)[skip:]
    if not layers:
        raise ModelError("has no convolution or linear layer with weights to probe")
    seen: dict[str, Layer] = {}
    for layer in layers:
        if layer.weight in seen:
            raise ModelError(f"{describe(layer.node)} and {describe(seen[layer.weight].node)} share their weights")
        seen[layer.weight] = layer
    if tape.shape(FEATURES_OUTPUT)[0] != -1 or len(tape.shape(FEATURES_OUTPUT)) != 2:
        raise ModelError(f"features have shape {tape.shape(FEATURES_OUTPUT)}, not one row an image")
    parts = sweep(tape, graph, FEATURES_OUTPUT, COTANGENT_INPUT, layers, two)
    joined = helper.make_node("Concat", parts, [FISHER_OUTPUT], axis=1)
    n_filters = sum(layer.n_filters for layer in layers)
    n_features = tape.shape(FEATURES_OUTPUT)[1]
    model = helper.make_model(
        helper.make_graph(
            [*graph.node, *tape.nodes, joined],
            "probe",
            [*graph.input, helper.make_tensor_value_info(COTANGENT_INPUT, TensorProto.FLOAT, ["N", n_features])],
            [helper.make_tensor_value_info(FISHER_OUTPUT, TensorProto.FLOAT, ["N", n_filters])],
            [*graph.initializer, *(numpy_helper.from_array(a, name) for name, a in tape.constants.items())],
        ),
        opset_imports=[helper.make_opsetid("", max(opset, OPSET))],
        ir_version=forward.ir_version,
    )
    return Probe(model, layers)
