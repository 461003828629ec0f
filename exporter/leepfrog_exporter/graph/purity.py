"""Nodes that make a network's outputs depend on more than the image."""

from __future__ import annotations

from collections.abc import Iterator

from onnx import GraphProto, ModelProto, NodeProto, numpy_helper

from leepfrog_exporter.graph.edit import describe, stored, subgraphs

_RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}


def random_node(model: ModelProto) -> str:
    """Describe the first node that draws random numbers; "" if there is none."""
    tensors = stored(model.graph)
    for node in _nodes(model):
        if node.op_type in _RANDOM:
            return describe(node)
        if node.op_type == "Dropout" and len(node.input) > 2 and node.input[2]:
            training = tensors.get(node.input[2])
            if training is None or numpy_helper.to_array(training).any():
                return f"{describe(node)} in training mode"
    return ""


def mixing_node(graph: GraphProto) -> str:
    """Describe the first node known to mix the images of a batch, with the fix; "" if there is none."""
    for node in _below(graph):
        if node.op_type == "BatchNormalization" and any(a.name == "training_mode" and a.i for a in node.attribute):
            return f"{describe(node)} is in training mode; export the network in evaluation mode (model.eval())"
    return ""


def _nodes(model: ModelProto) -> Iterator[NodeProto]:
    yield from _below(model.graph)
    for function in model.functions:
        yield from function.node


def _below(graph: GraphProto) -> Iterator[NodeProto]:
    for node in graph.node:
        yield node
        for subgraph in subgraphs(node):
            yield from _below(subgraph)
