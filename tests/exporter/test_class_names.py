"""Files whose outputs name classes: Custom Vision, scikit-learn's converter, or only an ArgMax."""

from __future__ import annotations

from pathlib import Path

import models_made as made
import numpy as np
import onnx
import pytest
from leepfrog.inference.load import load
from leepfrog.inference.model import Session
from leepfrog_exporter.export import export
from onnx import TensorProto, helper

NAMES = ["shirt", "cap", "boot", "sock", "belt"]
node = helper.make_node


def named(tail: list[onnx.NodeProto], outputs: list[onnx.ValueInfoProto], **constants: np.ndarray) -> made.Made:
    """Return a classifier with its probabilities in `p`, followed by nodes of two domains."""
    network = made.classifier(tail=("Softmax",), names=("data", "deep", "p"))
    made.add_tail(network, *tail, output="p", **constants)
    del network.model.graph.output[:]
    network.model.graph.output.extend(outputs)
    network.model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    return network


def text(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.STRING, None)


def mapped(name: str, keys: int = TensorProto.STRING) -> onnx.ValueInfoProto:
    value = helper.make_map_type_proto(keys, helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    return helper.make_value_info(name, helper.make_sequence_type_proto(value))


ARGMAX = node("ArgMax", ["p"], ["best"], axis=1, keepdims=1)
FLAT = node("Reshape", ["best", "line"], ["flat"])
LINE = np.array([-1])
ENCODER = node(
    "LabelEncoder", ["flat"], ["name"], domain="ai.onnx.ml", keys_int64s=range(5), values_strings=NAMES,
    default_string="?",
)  # fmt: skip
EXTRACTOR = node("ArrayFeatureExtractor", ["classes", "flat"], ["name"], domain="ai.onnx.ml")
ZIPMAP = node("ZipMap", ["p"], ["loss"], domain="ai.onnx.ml", classlabels_strings=NAMES)
NUMBERED = node("ZipMap", ["p"], ["loss"], domain="ai.onnx.ml", classlabels_int64s=range(5))
CLASSES = np.array(NAMES, object)
PROBS = helper.make_tensor_value_info("p", TensorProto.FLOAT, None)

FILES: dict[str, tuple[made.Made, list[str]]] = {
    "a name and a map of probabilities, as from Custom Vision": (
        named([ARGMAX, FLAT, EXTRACTOR, ZIPMAP], [text("name"), mapped("loss")], line=LINE, classes=CLASSES),
        NAMES,
    ),
    "an encoded label and numbered probabilities, as from scikit-learn": (
        named([ARGMAX, FLAT, ENCODER, NUMBERED], [text("name"), mapped("loss", TensorProto.INT64)], line=LINE),
        NAMES,
    ),
    "numbered probabilities": (named([NUMBERED], [mapped("loss", TensorProto.INT64)]), list("01234")),
    "a label and a tensor of probabilities": (named([ARGMAX, FLAT, ENCODER], [text("name"), PROBS], line=LINE), NAMES),
    "only a name": (named([ARGMAX, FLAT, ENCODER], [text("name")], line=LINE), NAMES),
    "only an index": (named([ARGMAX], [helper.make_tensor_value_info("best", TensorProto.INT64, None)]), []),
}


@pytest.mark.parametrize(("network", "labels"), FILES.values(), ids=FILES.keys())
def test_names_of_classes_become_labels(network: made.Made, labels: list[str], home: Path, tmp_path: Path) -> None:
    path = network.save(tmp_path / "net.onnx")
    outputs = load(path.read_bytes()).run(None, {"data": made.images(1)})
    file = export(f"onnx:{path}", made.options())
    assert list(file.metadata.labels) == labels
    probs, features = Session(file, "cpu", 1).run(made.images(1))
    expected = network.expected(made.images(1))
    np.testing.assert_allclose(probs, expected[0], atol=1e-5)
    np.testing.assert_allclose(features, expected[1], atol=1e-5)
    best, said = int(probs.argmax()), outputs[0]
    assert max(said[0], key=said[0].get) == best if isinstance(said, list) else said.ravel()[0] in (NAMES[best], best)


def test_an_argmax_inside_the_network_is_left_alone(home: Path, tmp_path: Path) -> None:
    """It does not lead to an output through names alone."""
    network = made.classifier()
    best = node("ArgMax", ["scores"], ["best"], axis=1, keepdims=1)
    number, total = node("Cast", ["best"], ["number"], to=TensorProto.FLOAT), node("Mul", ["number", "scores"], ["y"])
    made.add_tail(network, best, number, total, output="y")
    file = export(f"onnx:{network.save(tmp_path / 'net.onnx')}", made.options())
    assert not file.metadata.has_probs
