"""Helpers to inspect and edit ONNX graphs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

# Prefix of the values that leepfrog adds.
OWN_PREFIX = "leepfrog_"


def describe(node: NodeProto) -> str:
    """Describe a node in messages: operator, name and first output."""
    operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    name = f" {node.name!r}" if node.name else ""
    return f"{operator}{name} (output {node.output[0]!r})"


def attributes(node: NodeProto) -> dict[str, Any]:
    """Return a node's attributes by name."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def name_nodes(graph: GraphProto) -> None:
    """Give each unnamed node a unique name; passes that exclude nodes identify them by name."""
    taken = {node.name for node in graph.node}
    for number, node in enumerate(graph.node):
        if not node.name:
            node.name = f"{OWN_PREFIX}node_{number}"
            while node.name in taken:
                node.name += "_"
            taken.add(node.name)


def producers(graph: GraphProto) -> dict[str, NodeProto]:
    """Return the node that produces each value."""
    return {output: node for node in graph.node for output in node.output if output}


def constants(graph: GraphProto) -> set[str]:
    """Return the values that do not depend on the graph's inputs: initializers and values computed from them."""
    known = {tensor.name for tensor in graph.initializer} | {t.values.name for t in graph.sparse_initializer}
    for node in graph.node:  # in topological order, as ONNX requires
        if all(name in known for name in outer_inputs(node) if name):
            known.update(node.output)
    return known


def stored(graph: GraphProto) -> dict[str, TensorProto]:
    """Return the tensors stored in a graph, as initializers or Constant nodes, by name."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        for attribute in node.attribute if node.op_type == "Constant" else ():
            if attribute.name == "value":
                tensors[node.output[0]] = attribute.t
    return tensors


def constant_number(graph: GraphProto, name: str) -> float | None:
    """Return a stored number, such as a scale; None if it is computed or has several values."""
    tensor = stored(graph).get(name)
    array = None if tensor is None else numpy_helper.to_array(tensor)
    return float(array.ravel()[0]) if array is not None and array.size == 1 else None


def image_inputs(graph: GraphProto) -> list[onnx.ValueInfoProto]:
    """Return the inputs that a caller must feed; early IR versions also list initializers as inputs."""
    initialized = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in initialized]


def outer_inputs(node: NodeProto) -> list[str]:
    """Return the values that a node reads, including those read inside its subgraphs (If, Loop, Scan)."""
    names = list(node.input)
    for subgraph in subgraphs(node):
        inside = {v.name for v in subgraph.input} | {t.name for t in subgraph.initializer}
        inside |= {name for inner in subgraph.node for name in inner.output}
        names += [n for inner in subgraph.node for n in outer_inputs(inner) if n not in inside]
        names += [v.name for v in subgraph.output if v.name not in inside]
    return names


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """Yield the graphs in a node's attributes."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == AttributeProto.GRAPHS:
            yield from attribute.graphs


def rename(graph: GraphProto, old: str, new: str) -> None:
    """Rename a value wherever it occurs."""
    for node in graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name == old:
                    names[i] = new
        for subgraph in subgraphs(node):
            rename(subgraph, old, new)
    for named in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        if named.name == old:
            named.name = new


def values(graph: GraphProto) -> set[str]:
    """Return the names of all values, including those inside subgraphs."""
    names = {name for node in graph.node for name in (*node.input, *node.output)}
    names |= {v.name for v in (*graph.input, *graph.output)} | {t.name for t in graph.initializer}
    for node in graph.node:
        for subgraph in subgraphs(node):
            names |= values(subgraph)
    return names


def free_names(graph: GraphProto, wanted: Iterable[str]) -> None:
    """Rename existing values whose names are needed for other values."""
    used = values(graph)
    for name in wanted:
        if name in used:
            new = f"original_{name}"
            while new in used:
                new += "_"
            rename(graph, name, new)
            used.add(new)


def drop_unused(graph: GraphProto) -> None:
    """Remove nodes and initializers that no output depends on.

    Done in place: onnx_ir's pass would copy all weights, and it loses sparse ones.
    """
    needed = {value.name for value in graph.output}
    for i in reversed(range(len(graph.node))):
        if needed.isdisjoint(graph.node[i].output):
            del graph.node[i]
        else:
            needed |= set(outer_inputs(graph.node[i])) - {""}
    for i in reversed(range(len(graph.initializer))):
        if graph.initializer[i].name not in needed:
            del graph.initializer[i]


def strip_traces(model: ModelProto) -> None:
    """Remove what exporters leave behind: stack traces with local file paths, doc strings, stale shapes."""
    model.doc_string = ""
    del model.metadata_props[:]
    _strip_graph(model.graph)
    for function in model.functions:
        function.doc_string = ""
        del function.metadata_props[:]
        for node in function.node:
            _strip_node(node)


def _strip_graph(graph: GraphProto) -> None:
    graph.doc_string = ""
    del graph.metadata_props[:]
    del graph.value_info[:]
    for described in (*graph.input, *graph.output, *graph.initializer):
        described.doc_string = ""
        del described.metadata_props[:]
    for node in graph.node:
        _strip_node(node)


def _strip_node(node: NodeProto) -> None:
    node.doc_string = ""
    del node.metadata_props[:]
    for subgraph in subgraphs(node):
        _strip_graph(subgraph)
