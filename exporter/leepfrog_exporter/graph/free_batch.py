"""Free the batch axis of a graph that was traced for one batch size, often 1.

Exporters write that size into the graph. What can be put right from the graph alone:

1. A Reshape to constant numbers: the first of them follows from the others (-1) or from the input (0).
2. A Concat of a constant made for one image, such as a class token, with what depends on the image: the constant is
   repeated for each image.

Only nodes that depend on the image are touched. Whether that was right is for the parity check to say: it runs the
result at batch 1 and more, and refuses a graph that mixes images.
"""

from __future__ import annotations

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from leepfrog_exporter.graph.edit import constants


def free_batch_axis(graph: GraphProto, batch: int) -> None:
    """Edit a graph whose input has the fixed batch size `batch`, in place."""
    known = constants(graph)
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    tensors |= {
        node.output[0]: attribute.t
        for node in graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    }
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node.op_type == "Reshape" and node.input[0] not in known and node.input[1] in tensors:
            _free_reshape(graph, node, tensors[node.input[1]], batch)
        elif node.op_type == "Concat" and batch == 1:
            nodes += _repeated_constants(graph, node, tensors, known)
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _free_reshape(graph: GraphProto, node: NodeProto, shape: TensorProto, batch: int) -> None:
    numbers = [int(number) for number in numpy_helper.to_array(shape).ravel()]
    empty_axes = any(a.name == "allowzero" and a.i for a in node.attribute)
    if len(numbers) < 2 or numbers[0] < 1 or (empty_axes and 0 in numbers):
        return
    if -1 not in numbers:
        first = -1  # also where the batch is multiplied with something else, as by attention windows
    elif numbers[0] == batch:
        first = 0
    else:
        return
    kept = [attribute for attribute in node.attribute if attribute.name != "allowzero"]
    del node.attribute[:]
    node.attribute.extend(kept)
    name = f"leepfrog_shape_{len(graph.initializer)}"
    graph.initializer.append(numpy_helper.from_array(np.array([first, *numbers[1:]], np.int64), name))
    node.input[1] = name


def _repeated_constants(
    graph: GraphProto, node: NodeProto, tensors: dict[str, TensorProto], known: set[str]
) -> list[NodeProto]:
    """Nodes to stand before a Concat, whose inputs are changed to what they put out."""
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
    varying = [name for name in node.input if name not in known]
    added: list[NodeProto] = []
    for i, name in enumerate(node.input):
        dims = list(tensors[name].dims) if name in tensors else []
        if not varying or len(dims) < 3 or dims[0] != 1 or axis in (0, -len(dims)):
            continue  # one or two axes: more likely a shape being put together than a token
        made = f"leepfrog_repeated_{len(graph.initializer)}"
        ones = f"{made}_ones"
        graph.initializer.append(numpy_helper.from_array(np.ones(len(dims) - 1, np.int64), ones))
        first = f"{made}_first"
        graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.int64), first))
        added += [
            helper.make_node("Shape", [varying[0]], [f"{made}_shape"]),
            helper.make_node("Gather", [f"{made}_shape", first], [f"{made}_batch"], axis=0),
            helper.make_node("Concat", [f"{made}_batch", ones], [f"{made}_shape_wanted"], axis=0),
            helper.make_node("Expand", [name, f"{made}_shape_wanted"], [made]),
        ]
        node.input[i] = made
    return added
