"""The last linear layer, and the small edits of graphs that finding and attaching need."""

from __future__ import annotations

import models_made as made
import numpy as np
import onnx
import pytest
from leepfrog.errors import ModelError
from leepfrog_exporter.graph.edit import (
    constants,
    describe,
    drop_unused,
    free_names,
    image_inputs,
    outer_inputs,
    rename,
    shapes,
    strip_traces,
    values,
)
from leepfrog_exporter.graph.free_batch import free_batch_axis
from leepfrog_exporter.graph.head import Head, attach_outputs, find_head, pick_output
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

node = helper.make_node


def graph_of(*nodes: onnx.NodeProto, output: str = "y", **arrays: np.ndarray) -> GraphProto:
    """A graph from x [N, 6] to an output."""
    return helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 6])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )


def model_of(*nodes: onnx.NodeProto, **arrays: np.ndarray) -> ModelProto:
    return helper.make_model(graph_of(*nodes, **arrays), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


W = np.ones((6, 4), np.float32)
B = np.ones(4, np.float32)
K = np.ones((4, 6, 1, 1), np.float32)
GEMM = node("Gemm", ["x", "w", "b"], ["l"])

FOUND: dict[str, tuple[GraphProto, Head]] = {
    "gemm": (graph_of(GEMM, output="l", w=W, b=B), Head("l", "x", "logits", True)),
    "softmax": (graph_of(GEMM, node("Softmax", ["l"], ["y"]), w=W, b=B), Head("l", "x", "softmax", True)),
    "log-softmax": (graph_of(GEMM, node("LogSoftmax", ["l"], ["y"]), w=W, b=B), Head("l", "x", "log-softmax", True)),
    "reshapes around": (
        graph_of(
            GEMM,
            node("Unsqueeze", ["l", "one"], ["u"]),
            node("Softmax", ["u"], ["s"]),
            node("Squeeze", ["s", "one"], ["y"]),
            w=W,
            b=B,
            one=np.array([1]),
        ),
        Head("u", "x", "softmax", True),
    ),
    "bias first": (
        graph_of(node("MatMul", ["x", "w"], ["m"]), node("Add", ["b", "m"], ["y"]), w=W, b=B),
        Head("y", "x", "logits", True),
    ),
    "temperature": (
        graph_of(GEMM, node("Div", ["l", "t"], ["d"]), node("Softmax", ["d"], ["y"]), w=W, b=B, t=np.float32([2])),
        Head("d", "x", "softmax", True),
    ),
    "weights computed from constants": (
        graph_of(node("Transpose", ["v"], ["w"]), node("MatMul", ["x", "w"], ["y"]), v=W.T.copy()),
        Head("y", "x", "logits", True),
    ),
    "the last of two": (
        graph_of(
            node("MatMul", ["x", "e"], ["h"]), node("MatMul", ["h", "w"], ["y"]), e=np.eye(6, dtype=np.float32), w=W
        ),
        Head("y", "h", "logits", True),
    ),
    "1x1 conv without kernel_shape": (
        graph_of(node("Conv", ["x", "k"], ["c"]), node("Flatten", ["c"], ["y"]), k=K),
        Head("y", "x", "logits", False),
    ),
}


@pytest.mark.parametrize(("graph", "head"), FOUND.values(), ids=FOUND.keys())
def test_found(graph: GraphProto, head: Head) -> None:
    assert find_head(graph, graph.output[0].name) == head


NOT_FOUND: dict[str, tuple[GraphProto, str]] = {
    "nothing": (graph_of(output="x"), "no linear layer between input and output 'x'"),
    "constant output": (graph_of(output="w", w=W), "no linear layer"),
    "sigmoid": (graph_of(GEMM, node("Sigmoid", ["l"], ["y"]), w=W, b=B), "Sigmoid.*no distribution"),
    "sum of two heads": (
        graph_of(GEMM, node("Gemm", ["x", "w"], ["m"]), node("Add", ["l", "m"], ["y"]), w=W, b=B),
        r"Add \(output 'y'\) stands between",
    ),
    "product of two values": (graph_of(node("MatMul", ["x", "x"], ["y"])), "MatMul"),
    "gemm of two values": (graph_of(node("Gemm", ["x", "x"], ["y"], transB=1)), "Gemm"),
    "3x3 conv": (graph_of(node("Conv", ["x", "k"], ["y"]), k=np.ones((4, 6, 3, 3), np.float32)), "Conv"),
    "depthwise conv": (graph_of(node("Conv", ["x", "k"], ["y"], group=6), k=np.ones((6, 1, 1, 1), np.float32)), "Conv"),
    "another domain": (
        graph_of(node("Classify", ["x"], ["y"], domain="com.acme", name="c")),
        r"com\.acme\.Classify 'c'",
    ),
}


@pytest.mark.parametrize(("graph", "message"), NOT_FOUND.values(), ids=NOT_FOUND.keys())
def test_not_found(graph: GraphProto, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        find_head(graph, graph.output[0].name)
    assert "\n" not in str(caught.value)


def test_pick_output() -> None:
    graph = made.classifier().model.graph
    graph.output.extend([onnx.ValueInfoProto(name="maps"), onnx.ValueInfoProto(name="deep")])
    with pytest.raises(ModelError, match=r"has 3 outputs \(scores, maps, deep\)"):
        pick_output(graph, None)
    assert pick_output(graph, "maps") == "maps"
    assert [value.name for value in graph.output] == ["maps"]
    assert pick_output(graph, None) == "maps"


def test_attach_outputs_drops_what_they_do_not_need() -> None:
    model = made.classifier(tail=("LogSoftmax",)).model
    model.graph.node.append(node("Relu", ["scores"], ["spare"]))
    attach_outputs(model, find_head(model.graph, "scores"))
    assert [value.name for value in model.graph.output] == ["probs", "features"]
    assert {"LogSoftmax", "spare"}.isdisjoint(n.op_type for n in model.graph.node)
    assert "scores" not in values(model.graph)
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = made.CLASSES
    onnx.checker.check_model(model, full_check=True)


def branching() -> GraphProto:
    """An If whose branches both read the outer value `kept`; one has a `probs` of its own."""
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
    assert describe(GEMM) == "Gemm (output 'l')"
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
    model = model_of(node("Gemm", ["x", "w"], ["y"]), w=W)
    assert shapes(model) == {"x": [None, 6], "w": [6, 4], "y": [None, 4]}
    model.graph.node[0].input[1] = "x"  # does not fit
    assert shapes(model).get("y") in (None, [None, None], [None, 6])


@pytest.mark.parametrize(
    ("given", "freed"),
    [
        ([2, -1], [0, -1]),  # the batch size itself
        ([4, 3], [-1, 3]),  # the batch size times something
        ([2, 6], [-1, 6]),
        ([0, -1], [0, -1]),  # free already
        ([-1, 6], [-1, 6]),
        ([3, -1], [3, -1]),  # something else
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
    """A Reshape of what does not depend on the image stays."""
    model = model_of(
        node("Reshape", ["w", "shape"], ["r"]), node("MatMul", ["x", "r"], ["y"]), w=W, shape=np.array([6, 4])
    )
    before = model.SerializeToString()
    free_batch_axis(model, 6)
    assert model.SerializeToString() == before
