"""Outputs that an export uses as classes and features, or rejects (faults 7, 13, 38, 47 and 48)."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import models_made as made
import numpy as np
import onnx
import pytest
from commands import Here
from leepfrog.errors import ModelError, UsageError
from leepfrog.images.preprocess import normalize, resize_and_crop
from leepfrog.inference.load import load
from leepfrog.inference.model import ModelFile, Session
from leepfrog_exporter.export import export
from leepfrog_exporter.gradient.probe import export_probe
from leepfrog_exporter.networks.packages import package
from leepfrog_exporter.presets import PreprocessChoice
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from photos import pieces
from PIL import Image
from rankings import Listener

pytestmark = pytest.mark.full

node = helper.make_node
S = made.SIDE
LUMA = np.array([0.299, 0.587, 0.114])


def exported(network: made.Made, folder: Path, name: str = "net", **options: object) -> ModelFile:
    return export(f"onnx:{network.save(folder / f'{name}.onnx')}", made.options(force=True, **options))


def labels(folder: Path, *names: str) -> Path:
    path = folder / "labels.txt"
    path.write_text("\n".join(names))
    return path


# 13: outputs that are not a function of the image


def with_wider_features(*nodes: onnx.NodeProto) -> made.Made:
    """Return a classifier whose linear layer takes `deep` and `more`; the latter has weight 0, so probs are correct."""
    network = made.classifier()
    graph = network.model.graph
    last = graph.node.pop()
    last.input[0] = "both"
    last.input[1] = "wider"
    graph.node.extend([*nodes, node("Concat", ["deep", "more"], ["both"], axis=1), last])
    wider = np.vstack([network.weights["linear"], np.zeros_like(network.weights["linear"])])
    graph.initializer.append(numpy_helper.from_array(wider.astype(np.float32), "wider"))
    graph.initializer.append(numpy_helper.from_array(np.array([-1]), "from"))
    graph.initializer.append(numpy_helper.from_array(np.array([np.iinfo(np.int64).min]), "to"))
    graph.initializer.append(numpy_helper.from_array(np.array([0]), "rows"))
    graph.initializer.append(numpy_helper.from_array(np.array(True), "training"))
    return network


NOT_OF_THE_IMAGE = {
    "noise": (node("RandomNormalLike", ["deep"], ["more"], name="noise"), "RandomNormalLike 'noise'"),
    "dropout": (node("Dropout", ["deep", "", "training"], ["more"], name="drop"), "Dropout 'drop'.* training mode"),
    "other rows": (
        node("Slice", ["deep", "from", "to", "rows", "from"], ["more"]),
        "an image's features change by .* with other images in the batch",
    ),
}


@pytest.mark.parametrize(("more", "message"), NOT_OF_THE_IMAGE.values(), ids=NOT_OF_THE_IMAGE.keys())
def test_fault_13_features_must_be_a_function_of_the_image(
    more: onnx.NodeProto, message: str, home: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=message):
        exported(with_wider_features(more), tmp_path)
    assert not home.exists()


def test_fault_13_features_are_compared_with_the_original(home: Path, tmp_path: Path) -> None:
    for head in made.HEADS:
        file = exported(made.classifier(head), tmp_path, labels=labels(tmp_path, *"abcde"))
        assert file.metadata.parity["features_difference"] <= 1e-5
        assert file.metadata.parity["n_features"] == made.WIDTH


# 38: a network without a head


def headless(activation: str = "Clip") -> made.Made:
    """1x1 convolution, activation, pooling, flattening: the end of a MobileNetV2 without its classifier."""
    network = made.classifier("squeezenet")
    network.model.graph.node[-3].op_type = activation
    return network


def as_features(network: made.Made, folder: Path, doubt: str) -> ModelFile:
    """Export a network without labels, which gives its outputs as features and a notice of why."""
    listener = Listener()
    file = export(f"onnx:{network.save(folder / 'net.onnx')}", made.options(), listener)
    (notice,) = listener.notices
    assert re.search(f"exports features only, without probabilities: {doubt}", notice), notice
    assert not file.metadata.has_probs
    (own,) = load((folder / "net.onnx").read_bytes()).run(None, {"pixels": made.images(2)})
    _, features = Session(file, "cpu", 1).run(made.images(2))
    np.testing.assert_allclose(features, own, atol=1e-5)
    return file


@pytest.mark.parametrize("activation", ["Relu", "Clip"])
def test_fault_38_a_network_without_its_head_is_its_features(activation: str, home: Path, tmp_path: Path) -> None:
    as_features(headless(activation), tmp_path, f"{activation}.* its 5 outputs are classes, add --labels FILE")
    assert exported(headless(activation), tmp_path, labels=labels(tmp_path, *"abcde")).metadata.labels == tuple("abcde")


def test_fault_38_a_mobilenet_of_timm_without_its_head_is_its_features(home: Path, tmp_path: Path) -> None:
    torch, timm = package("torch"), package("timm")
    torch.manual_seed(0)
    network = timm.create_model("mobilenetv4_conv_small_035", num_classes=0).eval()
    path = tmp_path / "headless.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (torch.zeros(1, 3, 32, 32),), str(path), dynamo=False)
    file = export(f"onnx:{path}", made.options())
    assert (file.metadata.has_probs, file.metadata.parity["n_features"]) == (False, 1280)


@pytest.mark.parametrize("kind", [{"tail": ("Softmax",)}, {"classes": 1000}, {"classes": 1001}])
def test_fault_38_what_is_surely_a_classifier_is_exported(kind: dict, home: Path, tmp_path: Path) -> None:
    network = made.classifier("squeezenet", **kind)
    assert exported(network, tmp_path).metadata.parity["n_source"] == kind.get("classes", made.CLASSES)


@pytest.mark.parametrize("name", ["image_embeds", "pooler_output", "last_hidden_state", "features", "2048_Features"])
def test_fault_38_an_output_that_is_called_an_embedding_is_features(name: str, home: Path, tmp_path: Path) -> None:
    network = made.classifier(names=("pixels", "deep", name))
    as_features(network, tmp_path, f"its output is named '{name}'")
    assert exported(network, tmp_path, labels=labels(tmp_path, *"abcde")).metadata.parity["n_source"] == 5


def test_fault_38_the_export_says_what_it_took_for_classes(here: Here, home: Path) -> None:
    made.classifier().save(here.folder / "net.onnx")
    here.call("export", "onnx:net.onnx", "--preprocess", "imagenet").check(
        0, "5 classes, 6 features from Gemm (output 'scores')"
    )


# 47: softmax in other forms


def after(*nodes: onnx.NodeProto, **constants: np.ndarray) -> made.Made:
    return made.add_tail(made.classifier(), *nodes, output="end", **constants)


MAXIMUM = (node("ReduceMax", ["scores"], ["top"], axes=[1]), node("Sub", ["scores", "top"], ["shifted"]))
SUM = {"axis": np.array([1])}
WRITTEN_OUT = {
    "exp, sum, div": (
        node("Exp", ["scores"], ["odds"]),
        node("ReduceSum", ["odds", "axis"], ["sum"]),
        node("Div", ["odds", "sum"], ["end"]),
    ),
    "less the maximum": (
        *MAXIMUM,
        node("Exp", ["shifted"], ["odds"]),
        node("ReduceSum", ["odds", "axis"], ["sum"]),
        node("Div", ["odds", "sum"], ["end"]),
    ),
    "times the reciprocal": (
        node("Exp", ["scores"], ["odds"]),
        node("ReduceSum", ["odds", "axis"], ["sum"]),
        node("Reciprocal", ["sum"], ["inverse"]),
        node("Mul", ["odds", "inverse"], ["end"]),
    ),
    "log-sum-exp": (node("ReduceLogSumExp", ["scores"], ["sum"], axes=[1]), node("Sub", ["scores", "sum"], ["end"])),
    "log-softmax in steps": (
        *MAXIMUM,
        node("Exp", ["shifted"], ["odds"]),
        node("ReduceSum", ["odds", "axis"], ["sum"]),
        node("Log", ["sum"], ["log"]),
        node("Sub", ["shifted", "log"], ["end"]),
    ),
}


@pytest.mark.parametrize("nodes", WRITTEN_OUT.values(), ids=WRITTEN_OUT.keys())
def test_fault_47_softmax_written_out_is_recognized(
    nodes: tuple[onnx.NodeProto, ...], home: Path, tmp_path: Path
) -> None:
    network = after(*nodes, **SUM)
    probs, features = Session(exported(network, tmp_path), "cpu", 1).run(made.images(3))
    expected = network.expected(made.images(3))
    np.testing.assert_allclose(probs, expected[0], atol=1e-5)
    np.testing.assert_allclose(features, expected[1], atol=1e-5)


def test_fault_47_a_sum_over_something_else_is_refused(home: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="refused"):
        exported(after(*WRITTEN_OUT["exp, sum, div"], axis=np.array([0])), tmp_path)


@pytest.mark.parametrize(("factor", "words"), [(100, r"sum to 100 \(percentages\), not 1"), (2, "sum to 2, not 1")])
def test_fault_47_percentages_are_named(factor: float, words: str, home: Path, tmp_path: Path) -> None:
    softmax = node("Softmax", ["scores"], ["p"])
    network = after(softmax, node("Mul", ["p", "factor"], ["end"], name="percent"), factor=np.float32([factor]))
    with pytest.raises(ModelError, match=f"{words}, because Mul 'percent' .* follows the softmax"):
        exported(network, tmp_path)


@pytest.mark.parametrize("operator", ["Conv", "MatMul"])
def test_fault_47_dynamic_quantization_sees_single_images(operator: str, home: Path, tmp_path: Path) -> None:
    """It chose one range for the whole batch, and was refused; now each image runs by itself."""
    plain, quantized = made.classifier("matmul").save(tmp_path / "plain.onnx"), tmp_path / "dynamic.onnx"
    quantize_dynamic(plain, quantized, op_types_to_quantize=[operator], weight_type=QuantType.QUInt8)
    file = export(f"onnx:{quantized}", made.options())
    assert file.metadata.parity["batch_difference"] == 0


# 48: gray images, single logits


def grey(**kind: object) -> made.Made:
    """Return a single-channel classifier; its `expected` takes color images."""
    network = made.classifier(**kind)  # type: ignore[arg-type]
    single = network.weights["filters"][:, :1].astype(np.float32)
    graph = network.model.graph
    next(t for t in graph.initializer if t.name == "filters").CopyFrom(numpy_helper.from_array(single, "filters"))
    for listed in graph.input[1:]:  # only in old files
        if listed.name == "filters":
            listed.type.tensor_type.shape.dim[1].dim_value = 1
    shape = graph.input[0].type.tensor_type.shape.dim
    if shape[3].dim_value == 3:
        shape[3].dim_value = 1
    network.weights["filters"] = single * LUMA[None, :, None, None]
    return network


UNIT = PreprocessChoice("unit")


@pytest.mark.parametrize(
    "kind",
    [
        {"shape": ("N", 1, S, S)},
        {"shape": (1, 1, S, S), "opset": 9, "ir": 3},
        {"shape": ("N", S, S, 3)},
        {"shape": ("N", 1, S, S), "kind": TensorProto.UINT8},
    ],
    ids=["nchw", "old", "nhwc", "uint8"],
)
def test_fault_48_networks_of_grey_images_are_served(kind: dict, home: Path, tmp_path: Path) -> None:
    network = grey(**kind)
    is_bytes = "kind" in kind
    file = exported(network, tmp_path, preprocess=PreprocessChoice("raw") if is_bytes else UNIT)
    photos = [resize_and_crop(Image.fromarray(piece), file.metadata.preprocess) for piece in pieces("cat", 3)]
    outputs = Session(file, "cpu", 1).run(normalize(np.stack(photos), file.metadata.preprocess))
    # Users of the network would feed Pillow's greys, in integer levels.
    levels = np.stack([np.asarray(Image.fromarray(photo).convert("L")) for photo in photos])
    images = np.repeat(levels[:, None], 3, axis=1) / (1.0 if is_bytes else 255.0)
    probs, features = network.expected(images.astype(np.float32))
    scale = 255 if is_bytes else 1
    np.testing.assert_allclose(outputs[1], features, atol=0.01 * scale)
    np.testing.assert_allclose(outputs[0], probs, atol=0.02)
    assert export_probe(file).metadata.n_filters == made.WIDTH


def test_fault_48_grey_images_have_one_mean(home: Path, tmp_path: Path) -> None:
    network = grey(shape=("N", 1, S, S))
    with pytest.raises(UsageError, match=r"net\.onnx: takes gray images; use --preprocess inception, unit or raw"):
        exported(network, tmp_path)
    assert exported(network, tmp_path, preprocess=PreprocessChoice(mean=(0.4,) * 3, std=(0.2,) * 3))


@pytest.mark.parametrize("head", ["gemm", "matmul", "conv"])
@pytest.mark.parametrize("sigmoid", [True, False])
def test_fault_48_a_single_logit_makes_two_classes(head: str, sigmoid: bool, home: Path, tmp_path: Path) -> None:
    network = made.classifier(head, classes=1, tail=("Sigmoid",) if sigmoid else ())
    file = exported(network, tmp_path, labels=labels(tmp_path, "no", "yes"))
    images = made.images(3)
    _, features = network.expected(images)
    yes = 1 / (1 + np.exp(-(features @ network.weights["linear"] + network.weights["bias"])))
    again = export(f"onnx:{file.path}", made.options(preprocess=PreprocessChoice(), name="again"))
    for exported_file in (file, again):
        probs, values = Session(exported_file, "cpu", 1).run(images)
        np.testing.assert_allclose(probs, np.hstack([1 - yes, yes]), atol=1e-5)
        np.testing.assert_allclose(values, features, atol=1e-5)
        assert exported_file.metadata.labels == ("no", "yes")


def test_fault_48_one_number_may_be_a_regression(home: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"a single output without a sigmoid, like a regression.*--labels FILE"):
        exported(made.classifier(classes=1), tmp_path)
    assert exported(made.classifier(classes=1, tail=("Sigmoid",)), tmp_path).metadata.parity["n_source"] == 2
    assert not exported(made.classifier(classes=2, tail=("Sigmoid",)), tmp_path, name="two").metadata.has_probs


def test_fault_07_a_file_that_its_own_reader_would_refuse_is_not_written(home: Path, tmp_path: Path) -> None:
    """Outputs of 10^30 lead to a tolerance beyond the range allowed in metadata."""
    network = made.classifier()
    for tensor in network.model.graph.initializer:
        if tensor.name == "linear":
            tensor.CopyFrom(
                onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * np.float32(1e30), "linear")
            )
    with pytest.raises(ModelError, match=r"net\.onnx: metadata is invalid: parity\..* not a number from -2\^63"):
        exported(network, tmp_path)
    assert not list(home.rglob("*.onnx"))
