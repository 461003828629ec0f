"""Free the batch axis of a graph that was traced for one batch size, often 1.

Exporters write that size into the graph. What can be put right from the graph alone:

1. A Reshape to constant numbers: the first of them follows from the others (-1) or from the input (0).
2. A Reshape to one axis, then a Gather of everything in order, which is how torch writes `as_strided`: a Reshape.
3. A Concat of a constant made for one image, such as a class token, with what depends on the image: the constant is
   repeated for each image.

Only nodes that depend on the image are touched. Whether that was right is for the parity check to say: it runs the
result at batch 1 and more, and refuses a graph that mixes images.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from leepfrog_exporter.graph.edit import attributes, constants, producers, stored
from leepfrog_exporter.graph.shapes import Shapes, shapes


def free_batch_axis(model: ModelProto, batch: int) -> None:
    """Edit a model whose input has the fixed batch size `batch`, in place."""
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
        first = -1  # also where the batch is multiplied with something else, as attention windows are
    elif shape[0] in same:
        first = 0
    else:
        return
    del node.attribute[:]  # allowzero is the only one
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
    """Nodes to stand before a Concat, whose constants are replaced by what they put out."""
    axis = attributes(node).get("axis", 0)
    varying = [name for name in node.input if name not in known]
    added: list[NodeProto] = []
    for i, name in enumerate(node.input):
        n_axes = len(shape.get(name, []))
        # With one or two axes it is more likely a shape being put together than a token.
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
    """The name of a new initializer."""
    name = f"leepfrog_numbers_{len(graph.initializer)}"
    graph.initializer.append(numpy_helper.from_array(np.array(numbers, np.int64), name))
    return name
