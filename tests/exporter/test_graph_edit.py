"""Basic graph edits: renaming, pruning, stripping of traces, shapes and the batch axis."""

from __future__ import annotations

import models_made as made
import numpy as np
import onnx
import pytest
from graphs import graph_of
from leepfrog_exporter.graph.edit import (
    constants,
    describe,
    drop_unused,
    free_names,
    image_inputs,
    outer_inputs,
    rename,
    strip_traces,
    values,
)
from leepfrog_exporter.graph.free_batch import free_batch_axis
from leepfrog_exporter.graph.shapes import shapes
from onnx import GraphProto, ModelProto, helper, numpy_helper

node = helper.make_node


def model_of(*nodes: onnx.NodeProto, **arrays: np.ndarray) -> ModelProto:
    return helper.make_model(graph_of(*nodes, **arrays), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


W = np.ones((6, 4), np.float32)


def branching() -> GraphProto:
    """Return a graph with an If whose branches read the outer value `kept`; one defines its own `probs`."""
    info = helper.make_empty_tensor_value_info
    then = helper.make_graph([node("Relu", ["kept"], ["probs"])], "then", [], [info("probs")])
    other = helper.make_graph([node("Neg", ["kept"], ["r"])], "else", [], [info("r")])
    return graph_of(
        node("Abs", ["x"], ["kept"]),
        node("Abs", ["x"], ["unused"]),
        node("If", ["c"], ["y"], then_branch=then, else_branch=other),
        c=np.array(True),
        spare=W,
    )


def test_subgraphs() -> None:
    graph = branching()
    assert set(outer_inputs(graph.node[2])) == {"c", "kept"}
    assert values(graph) == {"x", "kept", "unused", "c", "y", "probs", "r", "spare"}
    assert constants(graph) == {"c", "spare"}
    drop_unused(graph)
    assert [n.output[0] for n in graph.node] == ["kept", "y"]
    assert [tensor.name for tensor in graph.initializer] == ["c"]
    rename(graph, "kept", "now")
    assert set(outer_inputs(graph.node[1])) == {"c", "now"}
    assert graph.node[0].output[0] == "now"
    free_names(graph, ["probs", "features"])
    assert values(graph) == {"x", "now", "c", "y", "original_probs", "r"}


def test_free_names_takes_no_name_twice() -> None:
    graph = graph_of(
        node("Relu", ["x"], ["probs"]), node("Relu", ["probs"], ["original_probs"]), output="original_probs"
    )
    free_names(graph, ["probs"])
    assert [list(n.output) for n in graph.node] == [["original_probs_"], ["original_probs"]]


def test_describe() -> None:
    assert describe(node("Gemm", ["x", "w"], ["l"])) == "Gemm (output 'l')"
    assert describe(node("Op", [], ["o"], name="n", domain="d")) == "d.Op 'n' (output 'o')"


def test_initializers_are_no_image_inputs() -> None:
    graph = made.classifier(ir=3, opset=9).model.graph
    assert len(graph.input) == 5
    assert [value.name for value in image_inputs(graph)] == ["pixels"]


def test_strip_traces() -> None:
    model = made.classifier().model
    model.graph.node.append(branching().node[2])
    private = "/home/somebody/net.py"
    inner = model.graph.node[-1].attribute[0].g
    function = model.functions.add(doc_string=private)
    function.node.add(doc_string=private)
    for described in (model, model.graph, model.graph.node[0], model.graph.input[0], inner, inner.node[0], function):
        described.doc_string = private
        if hasattr(described, "metadata_props"):
            described.metadata_props.add(key="stack_trace", value=private)
    model.graph.initializer[0].doc_string = private
    model.graph.value_info.add(name="conv", doc_string=private)
    assert private.encode() in model.SerializeToString()
    strip_traces(model)
    assert private.encode() not in model.SerializeToString()


def test_shapes() -> None:
    # `w` is above the size passed to onnx's shape inference.
    model = model_of(node("Gemm", ["x", "w"], ["y"]), w=np.ones((6, 400), np.float32))
    before = model.SerializeToString()
    assert shapes(model) == {"x": [0, 6], "w": [6, 400], "y": [0, 400]}
    assert shapes(model, (3, 6)) == {"x": [3, 6], "w": [6, 400], "y": [3, 400]}
    assert model.SerializeToString() == before
    model.graph.node[0].input[1] = "x"  # shapes do not match
    assert shapes(model).get("y") in (None, [0, 0], [0, 6])


@pytest.mark.parametrize(
    ("given", "freed"),
    [
        ([2, -1], [0, -1]),  # the batch size itself
        ([4, 3], [-1, 3]),  # a multiple of the batch size
        ([2, 6], [-1, 6]),
        ([0, -1], [0, -1]),  # already free
        ([-1, 6], [-1, 6]),
        ([3, -1], [3, -1]),  # unrelated to the batch size
        ([12], [12]),
    ],
)
def test_free_reshape(given: list[int], freed: list[int]) -> None:
    model = model_of(node("Reshape", ["x", "shape"], ["y"]), shape=np.array(given))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    free_batch_axis(model, 2)
    tensors = {tensor.name: numpy_helper.to_array(tensor).tolist() for tensor in model.graph.initializer}
    assert tensors[model.graph.node[0].input[1]] == freed


def test_constants_keep_their_shape() -> None:
    """A Reshape of constants is left unchanged."""
    model = model_of(
        node("Reshape", ["w", "shape"], ["r"]), node("MatMul", ["x", "r"], ["y"]), w=W, shape=np.array([6, 4])
    )
    before = model.SerializeToString()
    free_batch_axis(model, 6)
    assert model.SerializeToString() == before
