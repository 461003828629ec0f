"""Reverse sweep: from the gradient of the features to the squared gradients of each layer's filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from leepfrog.errors import ModelError
from leepfrog.task2vec.probe import Correlation
from numpy.typing import NDArray

from leepfrog_exporter.gradient.filters import Layer, correlation_of, layer_of, squared_gradients
from leepfrog_exporter.gradient.rules import rule_of
from leepfrog_exporter.gradient.tape import Tape
from leepfrog_exporter.graph.edit import describe


def layers_of(tape: Tape, graph: onnx.GraphProto) -> list[Layer]:
    """Return the graph's layers, in forward order."""
    return [layer for node in graph.node if (layer := layer_of(tape, node)) is not None]


def sweep(
    tape: Tape,
    graph: onnx.GraphProto,
    output: str,
    cotangent: str,
    layers: Sequence[Layer],
    values: Mapping[str, NDArray[Any]],
) -> list[str | Correlation]:
    """Write the backward graph.

    Args:
        tape: tape on which the backward graph is written.
        graph: the forward graph.
        output: name of the value to differentiate.
        cotangent: name of its gradient.
        layers: layers whose filter gradients are needed; no node before the first one is differentiated.
        values: all forward values of one run; their types show which ones are floating-point and carry gradients.

    Returns:
        For each of `layers`, in order: the squared gradients [N, O], or the correlation from which the runtime computes
        them.

    Raises:
        ModelError: an operator on the path has no gradient rule, or the output does not depend on a layer.
    """
    wanted = {layer.node.output[0]: layer for layer in layers}
    tape.needed |= _between(graph, set(wanted), output, values)
    absent = [layer for layer in layers if layer.node.output[0] not in tape.needed]
    if absent:
        raise ModelError(f"its features do not depend on {describe(absent[0].node)}")
    tape.inputs.add(cotangent)
    all_outside = all(layer.kind == "depthwise" for layer in layers)
    parts: dict[str, list[str]] = {output: [cotangent]}
    squared: dict[str, str | Correlation] = {}
    for node in reversed(graph.node):
        gradients = [_total(tape, parts.pop(name, [])) for name in node.output]
        if all(gradient is None for gradient in gradients):
            continue
        if (layer := wanted.get(node.output[0])) is not None and gradients[0] is not None:
            outside = None if all_outside else correlation_of(tape, layer, gradients[0])
            squared[node.output[0]] = outside or squared_gradients(tape, layer, gradients[0])
        needed = [name for name in node.input if name in tape.needed]
        if not needed:
            continue
        to_inputs = dict.fromkeys(range(len(node.input))) | dict(enumerate(rule_of(node)(tape, node, gradients)))
        for i, name in enumerate(node.input):
            if name not in tape.needed:
                continue
            if (gradient := to_inputs[i]) is None:
                raise ModelError(f"has no gradient rule for input {i} of {describe(node)}")
            parts.setdefault(name, []).append(gradient)
    return [squared[layer.node.output[0]] for layer in layers]


def _between(graph: onnx.GraphProto, sources: set[str], output: str, values: Mapping[str, NDArray[Any]]) -> set[str]:
    """Return the floating-point values on paths from the layers to the output, including both ends."""
    reached: set[str] = set()
    for node in graph.node:
        if any(name in reached for name in node.input) or any(name in sources for name in node.output):
            reached |= {
                name for name in node.output if name in values and np.issubdtype(values[name].dtype, np.floating)
            }
    leading = {output}
    for node in reversed(graph.node):
        if any(name in leading for name in node.output):
            leading |= set(node.input)
    return reached & leading


def _total(tape: Tape, gradients: Sequence[str]) -> str | None:
    if not gradients:
        return None
    total = gradients[0]
    for gradient in gradients[1:]:
        total = tape.emit("Add", total, gradient)
    return total
