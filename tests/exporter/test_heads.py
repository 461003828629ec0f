"""Forms of heads: location of features, presence of probabilities, and attached outputs."""

from __future__ import annotations

import re

import models_made as made
import numpy as np
import onnx
import pytest
from graphs import graph_of
from leepfrog.errors import ModelError
from leepfrog.inference.load import load
from leepfrog.inference.metadata import FEATURES_OUTPUT
from leepfrog_exporter.graph.edit import values
from leepfrog_exporter.graph.heads import embedding, find_head, forms
from leepfrog_exporter.graph.heads.base import Classifier, FeatureExtractor, Location
from leepfrog_exporter.graph.outputs import attach_outputs, pick_output
from leepfrog_exporter.graph.softmax import Ending
from leepfrog_exporter.graph.tail import tail_of
from onnx import GraphProto, TensorProto, helper

node = helper.make_node


W = np.ones((6, 4), np.float32)
B = np.ones(4, np.float32)
K = np.ones((4, 6, 1, 1), np.float32)
GEMM = node("Gemm", ["x", "w", "b"], ["l"])


def classifier(logits: str, features: str, ends_in: Ending, channels_last: bool = True) -> Classifier:
    return Classifier(logits=logits, locations=(Location(features, channels_last),), ends_in=ends_in)


CLASSIFIERS: dict[str, tuple[GraphProto, Classifier]] = {
    "gemm": (graph_of(GEMM, output="l", w=W, b=B), classifier("l", "x", "logits")),
    "softmax": (graph_of(GEMM, node("Softmax", ["l"], ["y"]), w=W, b=B), classifier("l", "x", "softmax")),
    "log-softmax": (graph_of(GEMM, node("LogSoftmax", ["l"], ["y"]), w=W, b=B), classifier("l", "x", "log-softmax")),
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
        classifier("u", "x", "softmax"),
    ),
    "bias first": (
        graph_of(node("MatMul", ["x", "w"], ["m"]), node("Add", ["b", "m"], ["y"]), w=W, b=B),
        classifier("y", "x", "logits"),
    ),
    "temperature": (
        graph_of(GEMM, node("Div", ["l", "t"], ["d"]), node("Softmax", ["d"], ["y"]), w=W, b=B, t=np.float32([2])),
        classifier("d", "x", "softmax"),
    ),
    "weights computed from constants": (
        graph_of(node("Transpose", ["v"], ["w"]), node("MatMul", ["x", "w"], ["y"]), v=W.T.copy()),
        classifier("y", "x", "logits"),
    ),
    "the last of two": (
        graph_of(
            node("MatMul", ["x", "e"], ["h"]), node("MatMul", ["h", "w"], ["y"]), e=np.eye(6, dtype=np.float32), w=W
        ),
        classifier("y", "h", "logits"),
    ),
    "1x1 conv without kernel_shape": (
        graph_of(node("Conv", ["x", "k"], ["c"]), node("Flatten", ["c"], ["y"]), k=K),
        classifier("y", "x", "logits", channels_last=False),
    ),
}


@pytest.mark.parametrize(("graph", "head"), CLASSIFIERS.values(), ids=CLASSIFIERS.keys())
def test_found(graph: GraphProto, head: Classifier) -> None:
    assert find_head(graph, graph.output[0].name) == head


V = W + 1
BN = {"s": np.ones(6, np.float32), "o": np.zeros(6, np.float32), "m": np.zeros(6, np.float32)}

SEVERAL: dict[str, tuple[GraphProto, list[str]]] = {
    "averaged, of the same features": (
        graph_of(
            GEMM, node("Gemm", ["x", "v", "b"], ["c"]),
            node("Add", ["l", "c"], ["t"]), node("Div", ["t", "two"], ["y"]),
            w=W, v=V, b=B, two=np.float32([2]),
        ),
        ["x"],
    ),
    "stacked, of features normalized separately": (
        graph_of(
            node("BatchNormalization", ["x", "s", "o", "m", "s"], ["n1"]),
            node("BatchNormalization", ["x", "s", "o", "m", "s"], ["n2"]),
            node("Gemm", ["n1", "w", "b"], ["a"]),
            node("Gemm", ["n2", "v", "b"], ["c"]),
            node("Unsqueeze", ["a", "zero"], ["a1"]),
            node("Unsqueeze", ["c", "zero"], ["c1"]),
            node("Concat", ["a1", "c1"], ["t"], axis=0),
            node("ReduceMean", ["t", "zero"], ["y"], keepdims=0),
            w=W, v=V, b=B, zero=np.array([0]), **BN,
        ),
        ["n1"],
    ),
    "of two features, weighted, with softmax": (
        graph_of(
            node("Relu", ["x"], ["r"]), node("Sin", ["x"], ["h"]),
            node("MatMul", ["r", "w"], ["a"]), node("MatMul", ["h", "v"], ["c"]),
            node("Mul", ["c", "half"], ["d"]), node("Add", ["a", "d"], ["t"]), node("Softmax", ["t"], ["y"]),
            w=W, v=V, half=np.float32([0.5]),
        ),
        ["r", "h"],
    ),
    "three": (
        graph_of(
            node("Sin", ["x"], ["h"]), node("Cos", ["x"], ["g"]),
            node("MatMul", ["x", "w"], ["a"]), node("MatMul", ["h", "v"], ["c"]), node("MatMul", ["g", "v"], ["d"]),
            node("Sum", ["a", "c", "d"], ["y"]), w=W, v=V,
        ),
        ["x", "h", "g"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("graph", "features"), SEVERAL.values(), ids=SEVERAL.keys())
def test_several_linear_layers(graph: GraphProto, features: list[str]) -> None:
    head = find_head(graph, graph.output[0].name)
    assert isinstance(head, Classifier)
    assert [location.value for location in head.locations] == features
    assert head.layer.count(" and ") == len(features) - 1
    if head.ends_in == "logits":
        with pytest.raises(ModelError, match="it joins the outputs of several linear layers"):
            head.refuse_embedding(4, "")


WITHOUT_PROBS: dict[str, tuple[GraphProto, str, str]] = {
    "sigmoid": (graph_of(GEMM, node("Sigmoid", ["l"], ["y"]), w=W, b=B), "x", "ends in Sigmoid.*not a distribution"),
    "product of two values": (graph_of(node("MatMul", ["x", "x"], ["y"])), "y", "MatMul"),
    "gemm of two values": (graph_of(node("Gemm", ["x", "x"], ["y"], transB=1)), "y", "Gemm"),
    "3x3 conv": (graph_of(node("Conv", ["x", "k"], ["y"]), k=np.ones((4, 6, 3, 3), np.float32)), "y", "Conv"),
    "depthwise conv": (
        graph_of(node("Conv", ["x", "k"], ["y"], group=6), k=np.ones((6, 1, 1, 1), np.float32)), "y", "Conv",
    ),
    "weights of a 3x3 conv on one channel, transposed": (
        graph_of(node("Transpose", ["k"], ["t"], perm=[3, 2, 0, 1]), node("Conv", ["x", "t"], ["y"]), k=K.T.copy()),
        "y",
        "Conv",
    ),
    "residual connections": (
        graph_of(
            node("MatMul", ["x", "e"], ["h"]), node("Relu", ["h"], ["r"]), node("MatMul", ["r", "e"], ["g"]),
            node("Add", ["h", "g"], ["y"]), e=np.eye(6, dtype=np.float32),
        ),
        "y",
        "no classifier: ends in Add",
    ),
    "another domain": (
        graph_of(node("Classify", ["x"], ["y"], domain="com.acme", name="c")),
        "y",
        r"com\.acme\.Classify 'c'",
    ),
    "a norm, then an activation": (
        graph_of(node("LpNormalization", ["x"], ["n"]), node("Relu", ["n"], ["y"])), "y", "LpNormalization",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("graph", "features", "reason"), WITHOUT_PROBS.values(), ids=WITHOUT_PROBS.keys())
def test_without_probs(graph: GraphProto, features: str, reason: str) -> None:
    head = find_head(graph, graph.output[0].name)
    assert isinstance(head, FeatureExtractor)
    assert [location.value for location in head.locations] == [features]
    assert re.search(reason, head.reason)
    assert "\n" not in head.reason


NO_HEAD: dict[str, tuple[GraphProto, str]] = {
    "nothing": (graph_of(output="x"), "no linear layer between input and output 'x'"),
    "constant output": (graph_of(output="w", w=W), "no linear layer"),
    "softmax of what no form knows": (
        graph_of(node("MatMul", ["x", "x"], ["m"]), node("Softmax", ["m"], ["y"])),
        "cannot find the last linear layer: MatMul",
    ),
}


@pytest.mark.parametrize(("graph", "message"), NO_HEAD.values(), ids=NO_HEAD.keys())
def test_no_head(graph: GraphProto, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        find_head(graph, graph.output[0].name)
    assert "\n" not in str(caught.value)


def test_forms_are_asked_in_a_stated_order() -> None:
    priorities = [form.PRIORITY for form in forms()]
    assert priorities == sorted(set(priorities))
    assert priorities[-1] == embedding.PRIORITY
    # `embedding` comes last because it also accepts heads that other forms recognize.
    tail = tail_of(graph_of(GEMM, output="l", w=W, b=B), "l")
    assert [type(head) for form in forms() if (head := form.head(tail))] == [Classifier, FeatureExtractor]


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


def test_features_of_several_layers_are_concatenated() -> None:
    """As in distilled networks: one layer sees the average over space, another one the maximum."""
    network = made.classifier()
    tail = (
        node("GlobalMaxPool", ["maps"], ["peaks"]),
        node("Flatten", ["peaks"], ["high"]),
        node("Gemm", ["high", "linear", "bias"], ["other"]),
        node("Add", ["scores", "other"], ["total"]),
        node("Mul", ["total", "half"], ["both"]),
    )
    made.add_tail(network, *tail, output="both", half=np.float32([0.5]))
    images = made.images(3)
    session = load(network.model.SerializeToString())
    attach_outputs(network.model, find_head(network.model.graph, "both"))
    probs, features = load(network.model.SerializeToString()).run(["probs", "features"], {"pixels": images})
    (logits,) = session.run(["both"], {"pixels": images})
    np.testing.assert_allclose(np.log(probs) - np.log(probs[:, :1]), logits - logits[:, :1], atol=1e-4)
    assert features.shape == (3, 2 * made.WIDTH)
    np.testing.assert_allclose(features[:, : made.WIDTH], network.expected(images)[1], atol=1e-5)
    linear, bias = network.weights["linear"], network.weights["bias"]
    halves = features.reshape(3, 2, made.WIDTH) @ linear + bias
    np.testing.assert_allclose(halves.mean(axis=1), logits, atol=1e-5)


AXES = {"gemm": 2, "matmul": 2, "tokens": 3, "conv": 4, "squeezenet": 4}
"""Number of axes of the features before pooling, by form of head."""


@pytest.mark.parametrize(("form", "n_axes"), AXES.items())
def test_a_network_without_its_head_is_its_features(form: str, n_axes: int) -> None:
    network = made.classifier(form)
    graph = network.model.graph
    cut = find_head(graph, "scores").locations[0].value
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(cut, TensorProto.FLOAT, [None] * n_axes))
    check_features_alone(network, cut)


@pytest.mark.parametrize("form", made.HEADS)
def test_a_multi_label_network_keeps_its_features(form: str) -> None:
    check_features_alone(made.classifier(form, tail=("Sigmoid",)), "scores")


def check_features_alone(network: made.Made, output: str) -> None:
    head = find_head(network.model.graph, output)
    assert isinstance(head, FeatureExtractor)
    attach_outputs(network.model, head)
    session = load(network.model.SerializeToString())
    assert [value.name for value in session.get_outputs()] == [FEATURES_OUTPUT]
    images = made.images(3)
    (features,) = session.run(None, {"pixels": images})
    np.testing.assert_allclose(features, network.expected(images)[1], atol=1e-5)
