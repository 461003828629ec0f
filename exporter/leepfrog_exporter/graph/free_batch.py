"""Make the batch axis of a graph dynamic that was traced with a fixed batch size, often 1.

Exporters write that size into the graph. These patterns can be fixed from the graph alone:

1. A Reshape to a constant shape: its first axis is inferred from the others (-1) or copied from the input (0).
2. A Reshape to one axis and a Gather of all elements in order, torch's form of `as_strided`: replaced by one Reshape.
3. A Concat of a constant for one image, such as a class token, with values that depend on the image: the constant is
   repeated per image.

Only nodes that depend on the image are edited. The parity check verifies the result: it runs the graph with several
batch sizes and refuses one that mixes images.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from leepfrog_exporter.graph.edit import attributes, constants, producers, stored
from leepfrog_exporter.graph.shapes import Shapes, shapes


def free_batch_axis(model: ModelProto, batch: int) -> None:
    """Make the batch axis dynamic, in place, in a model whose input has the fixed batch size `batch`."""
    graph = model.graph
    known, made_by, shape = constants(graph), producers(graph), shapes(model)
    numbers = {
        name: numpy_helper.to_array(tensor)
        for name, tensor in stored(graph).items()
        if tensor.data_type == TensorProto.INT64
    }
    nodes: list[NodeProto] = []
    for node in graph.node:
        varies = bool(node.input) and node.input[0] not in known
        if node.op_type == "Reshape" and varies and node.input[1] in numbers:
            same = {batch, *shape.get(node.input[0], [])[:1]}
            _free_reshape(graph, node, numbers[node.input[1]].ravel().tolist(), same)
        elif node.op_type == "Gather" and varies and node.input[1] in numbers:
            _gather_to_reshape(graph, node, made_by.get(node.input[0]), numbers)
        elif node.op_type == "Concat" and batch == 1:
            nodes += _repeated_constants(graph, node, known, shape)
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _free_reshape(graph: GraphProto, node: NodeProto, shape: list[int], same: set[int]) -> None:
    if len(shape) < 2 or shape[0] < 1 or (attributes(node).get("allowzero", 0) and 0 in shape):
        return
    if -1 not in shape:
        first = -1  # also if the batch is merged with another axis, such as attention windows
    elif shape[0] in same:
        first = 0
    else:
        return
    del node.attribute[:]  # allowzero is the only attribute
    node.input[1] = _constant(graph, [first, *shape[1:]])


def _gather_to_reshape(
    graph: GraphProto, node: NodeProto, flat: NodeProto | None, numbers: Mapping[str, NDArray[np.int64]]
) -> None:
    indices = numbers[node.input[1]]
    if flat is None or flat.op_type != "Reshape" or indices.ndim < 2:
        return
    shape = numbers.get(flat.input[1])
    if shape is None or shape.tolist() != [-1] or (indices.ravel() != np.arange(indices.size)).any():
        return
    node.op_type = "Reshape"
    del node.attribute[:]
    node.input[:] = [flat.input[0], _constant(graph, [-1, *indices.shape[1:]])]


def _repeated_constants(graph: GraphProto, node: NodeProto, known: set[str], shape: Shapes) -> list[NodeProto]:
    """Return nodes that repeat the constants of a Concat per image, and make the Concat read their outputs."""
    axis = attributes(node).get("axis", 0)
    varying = [name for name in node.input if name not in known]
    added: list[NodeProto] = []
    for i, name in enumerate(node.input):
        n_axes = len(shape.get(name, []))
        # A constant with one or two axes is probably part of a shape computation rather than a token.
        if not varying or name not in known or n_axes < 3 or axis in (0, -n_axes):
            continue
        made = f"leepfrog_repeated_{len(graph.initializer)}"
        added += [
            helper.make_node("Shape", [varying[0]], [f"{made}_shape"]),
            helper.make_node("Gather", [f"{made}_shape", _constant(graph, [0])], [f"{made}_batch"], axis=0),
            helper.make_node("Concat", [f"{made}_batch", _constant(graph, [1] * (n_axes - 1))], [f"{made}_n"], axis=0),
            helper.make_node("Expand", [name, f"{made}_n"], [made]),
        ]
        node.input[i] = made
    return added


def _constant(graph: GraphProto, numbers: list[int]) -> str:
    """Add an initializer and return its name."""
    name = f"leepfrog_numbers_{len(graph.initializer)}"
    graph.initializer.append(numpy_helper.from_array(np.array(numbers, np.int64), name))
    return name
