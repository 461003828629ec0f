"""`leepfrog export --no-probs`: embeddings and multi-label networks as feature-only scoring models."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import leepfrog
import models_made as made
import numpy as np
import pytest
from commands import Here
from leepfrog.errors import ModelError, UsageError
from leepfrog.inference.load import load
from leepfrog.inference.model import ModelFile, Session
from leepfrog.progress import SilentProgress
from leepfrog_exporter.draft import ExportOptions
from leepfrog_exporter.export import _scoring_model, export
from leepfrog_exporter.gradient.probe import export_probe
from leepfrog_exporter.graph.edit import rename
from leepfrog_exporter.networks.network import Network
from leepfrog_exporter.networks.packages import package
from leepfrog_exporter.networks.traced import traced
from leepfrog_exporter.precision.variant import export_variant
from onnx import TensorProto, helper
from photos import folder_of_pieces, photo_set
from rankings import Listener


def exported(network: made.Made, folder: Path, name: str = "net", **options: object) -> ModelFile:
    return export(f"onnx:{network.save(folder / f'{name}.onnx')}", made.options(no_probs=True, **options))


def multi_label(head: str = "gemm") -> made.Made:
    return made.classifier(head, tail=("Sigmoid",))


def cut(head: str = "gemm") -> made.Made:
    """Return a network without its last linear layer."""
    network = made.classifier(head)
    shape = [None] * {"gemm": 2, "tokens": 3, "conv": 4}[head]
    del network.model.graph.output[:]
    network.model.graph.output.append(helper.make_tensor_value_info("deep", TensorProto.FLOAT, shape))
    return network


@pytest.mark.parametrize("head", made.HEADS)
def test_a_multi_label_network(head: str, home: Path, tmp_path: Path) -> None:
    """The features are the inputs of the last linear layer, averaged over positions."""
    check_features(exported(multi_label(head), tmp_path), multi_label(head))


@pytest.mark.parametrize("head", ["gemm", "tokens", "conv"])
def test_an_embedding(head: str, home: Path, tmp_path: Path) -> None:
    check_features(exported(cut(head), tmp_path), cut(head))


def check_features(file: ModelFile, network: made.Made) -> None:
    assert not file.metadata.has_probs
    assert file.metadata.parity["features_difference"] < 1e-5
    assert "top1_agreement" not in file.metadata.parity
    session, images = Session(file, "cpu", 1), made.images(3)
    probs, features = session.run(images)
    assert probs is None
    assert session.n_features == made.WIDTH
    np.testing.assert_allclose(features, network.expected(images)[1], atol=1e-5)


def test_an_embedding_that_ends_in_a_linear_layer(home: Path, tmp_path: Path) -> None:
    """A final projection, as in CLIP's image tower: its outputs are the features."""
    network = made.classifier(names=("pixels", "deep", "embedding"))
    weights, images = network.weights, made.images(3)
    unasked = export(f"onnx:{network.save(tmp_path / 'net.onnx')}", made.options(name="unasked"))
    for file in (unasked, exported(network, tmp_path)):
        _, features = Session(file, "cpu", 1).run(images)
        expected = network.expected(images)[1] @ weights["linear"] + weights["bias"]
        np.testing.assert_allclose(features, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("network", "reason"),
    [(multi_label(), "ends in Sigmoid"), (cut(), "ends in Conv"), (cut("tokens"), "ends in Transpose")],
    ids=["multi-label", "embedding", "tokens"],
)
def test_unasked_for(network: made.Made, reason: str, home: Path, tmp_path: Path) -> None:
    """What is surely not a classifier is exported without --no-probs, with a notice."""
    listener = Listener()
    file = export(f"onnx:{network.save(tmp_path / 'net.onnx')}", made.options(), listener)
    check_features(file, network)
    (notice,) = listener.notices
    assert notice.startswith("net: exports features only, without probabilities: ")
    assert reason in notice


def test_asked_for(home: Path, tmp_path: Path) -> None:
    """A network that may be a classifier is refused; the message suggests the options, and names candidates."""
    network = made.classifier()
    made.add_tail(network, helper.make_node("MatMul", ["scores", "scores"], ["odd"], "odd"), output="odd")
    with pytest.raises(ModelError, match=r"use --no-probs, or --features VALUE: candidates are .*'deep' \[N, 6\]"):
        export(f"onnx:{network.save(tmp_path / 'net.onnx')}", made.options())
    assert not home.exists()


@pytest.mark.parametrize("pool", ["mean", "cls"])
def test_tokens_are_pooled(pool: str, home: Path, tmp_path: Path) -> None:
    """As in DINOv2: the outputs are tokens [N, T, D], under the name that transformers gives them."""
    network = cut("tokens")
    rename(network.model.graph, "deep", "last_hidden_state")
    file = export(f"onnx:{network.save(tmp_path / 'net.onnx')}", made.options(pool=pool))
    (tokens,) = load(network.model.SerializeToString()).run(None, {"pixels": made.images(3)})
    assert tokens.shape == (3, 64, made.WIDTH)
    _, features = Session(file, "cpu", 1).run(made.images(3))
    np.testing.assert_allclose(features, tokens[:, 0] if pool == "cls" else tokens.mean(axis=1), atol=1e-5)
    with pytest.raises(UsageError, match=r"--pool cls: the features are not tokens"):
        export(f"onnx:{made.classifier().save(tmp_path / 'other.onnx')}", made.options(pool="cls"))
    with pytest.raises(UsageError, match="pool 'max' is unknown"):
        export(f"onnx:{tmp_path / 'net.onnx'}", made.options(pool="max"))


def test_outputs_named_as_transformers_does(home: Path, tmp_path: Path) -> None:
    """Of a CLIP tower's outputs, the projected embedding of the whole image is chosen."""
    network = made.classifier("tokens", names=("pixel_values", "last_hidden_state", "image_embeds"))
    tokens = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, [None] * 3)
    network.model.graph.output.append(tokens)
    listener, path = Listener(), network.save(tmp_path / "net.onnx")
    file = export(f"onnx:{path}", made.options(), listener)
    assert not file.metadata.has_probs
    assert file.metadata.parity["n_features"] == made.CLASSES
    (notice,) = listener.notices
    assert notice.startswith("net: exports features only, without probabilities: its output is named 'image_embeds'")
    file = export(f"onnx:{path}", made.options(output_name="last_hidden_state", name="tokens"))
    check_features(file, made.classifier("tokens"))
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join("abcde"))
    assert export(f"onnx:{path}", made.options(labels=labels, name="classes")).metadata.has_probs


@pytest.mark.parametrize("tail", [(), ("Softmax",), ("Sigmoid",)])
def test_features_by_name(tail: tuple[str, ...], home: Path, tmp_path: Path) -> None:
    """Any value may be the features; probabilities stay if there are any."""
    network = made.classifier(tail=tail)
    path = network.save(tmp_path / "net.onnx")
    file = export(f"onnx:{path}", made.options(features="maps"))
    assert file.metadata.has_probs == (tail != ("Sigmoid",))
    _, features = Session(file, "cpu", 1).run(made.images(3))
    np.testing.assert_allclose(features, network.expected(made.images(3))[1], atol=1e-5)
    file = export(f"onnx:{path}", made.options(features="conv", no_probs=True, name="alone"))
    assert not file.metadata.has_probs
    for value, message in {
        "map": r"computes no value 'map'; did you mean 'maps'\? candidates are .*'mean' \[N, 6, 1, 1\]",
        "linear": r"computes no value 'linear'",
    }.items():
        with pytest.raises(UsageError, match=message):
            export(f"onnx:{path}", made.options(features=value, name="wrong"))


def test_features_of_an_unknown_multi_label_head_by_name(home: Path, tmp_path: Path) -> None:
    """Sigmoids of something that is not a linear layer: only features are left."""
    network = made.classifier()
    squared = helper.make_node("Mul", ["scores", "scores"], ["squared"])
    made.add_tail(network, squared, helper.make_node("Sigmoid", ["squared"], ["many"]), output="many")
    file = export(f"onnx:{network.save(tmp_path / 'net.onnx')}", made.options(features="deep"))
    check_features(file, made.classifier())


def test_the_class_token_of_a_usual_classifier_with_a_doubt(home: Path, tmp_path: Path) -> None:
    """`--pool cls` holds also where the number of outputs settles the doubt."""
    network = made.classifier("tokens", classes=1000)
    positive = helper.make_node("Relu", ["scores"], ["positive"])
    made.add_tail(network, positive, output="positive")
    file = export(f"onnx:{network.save(tmp_path / 'net.onnx')}", made.options(pool="cls"))
    assert file.metadata.has_probs
    (tokens,) = load(cut("tokens").model.SerializeToString()).run(["deep"], {"pixels": made.images(3)})
    _, features = Session(file, "cpu", 1).run(made.images(3))
    np.testing.assert_allclose(features, tokens[:, 0], atol=1e-5)


def test_features_of_an_unknown_head_by_name(home: Path, tmp_path: Path) -> None:
    """A softmax of something that is not a linear layer."""
    network = made.classifier()
    squared = helper.make_node("Mul", ["scores", "scores"], ["squared"])
    made.add_tail(network, squared, helper.make_node("Softmax", ["squared"], ["probs"]), output="probs")
    path = network.save(tmp_path / "net.onnx")
    with pytest.raises(ModelError, match=r"Mul .* is not supported.*; or name its features, --features VALUE: "):
        export(f"onnx:{path}", made.options())
    file = export(f"onnx:{path}", made.options(features="deep"))
    probs, features = Session(file, "cpu", 1).run(made.images(3))
    np.testing.assert_allclose(features, network.expected(made.images(3))[1], atol=1e-5)
    (expected,) = load(network.model.SerializeToString()).run(["probs"], {"pixels": made.images(3)})
    np.testing.assert_allclose(probs, expected, atol=1e-6)


def test_classifiers_are_refused(home: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"ends in a softmax, so it has class probabilities.*without --no-probs"):
        exported(made.classifier(tail=("Softmax",)), tmp_path)
    with pytest.raises(ModelError, match=r"has 1,000 outputs, like an ImageNet classifier.*without --no-probs"):
        exported(made.classifier(classes=1000), tmp_path)
    with pytest.raises(UsageError, match="--labels and --no-probs exclude each other"):
        exported(multi_label(), tmp_path, labels=tmp_path / "labels.txt")
    assert not home.exists()


def test_a_map_whose_shape_is_not_stated(home: Path, tmp_path: Path) -> None:
    network = cut("conv")
    network.model.graph.output[0].type.tensor_type.ClearField("shape")
    with pytest.raises(ModelError, match="declare the output's shape"):
        exported(network, tmp_path)


def test_features_of_a_classifier_that_was_exported(home: Path, tmp_path: Path) -> None:
    """Select the features by output name, then export the result again."""
    weights = made.classifier().weights
    parent = export(f"onnx:{made.classifier().save(tmp_path / 'net.onnx')}", made.options(name="parent"))
    for output, name in (("features", "once"), (None, "twice")):
        parent = export(f"onnx:{parent.path}", made.options(name=name, no_probs=True, output_name=output))
        check_features(parent, made.classifier())
        assert parent.metadata.n_parameters == sum(weights[tensor].size for tensor in ("filters", "shift"))


@pytest.mark.full
def test_ranked_probed_and_in_fewer_bits(home: Path, tmp_path: Path, here: Here) -> None:
    folder_of_pieces(here.folder / "photos", 6)
    multi_label().save(here.folder / "many.onnx")
    done = here.call("export", "onnx:many.onnx", "--preprocess", "imagenet", "--no-probs", "--probe")
    done.check(0, f"no probabilities over source classes, {made.WIDTH} features from Gemm", "many.fisher.onnx")
    done = here.call("export", "many", "--precision", "fp16,int8", "--calibrate", "photos")
    done.check(0, "compared with many on ", "feature cosine")
    done = here.call("rank", "photos", "--format", "json")
    done.check(0)
    assert {model["name"] for model in done.json["models"]} == {"many", "many-fp16", "many-int8"}
    assert {drift["top1_agreement"] for drift in done.json["drifts"]} == {None}
    here.call("embed", "photos", "--probe", "many", "-o", "task.npz").check(0)


def onnx_of(module: Any, path: Path) -> Path:
    torch = package("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module.eval(), (torch.zeros(1, 3, 32, 32),), str(path), dynamo=False)
    return path


@pytest.mark.full
def test_a_torch_network_without_its_classifier(home: Path, tmp_path: Path) -> None:
    """Via an ONNX file, and traced by leepfrog with the network itself as reference."""
    torch = package("torch")
    nn = torch.nn
    torch.manual_seed(0)
    body = [nn.Conv2d(3, 16, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    batch = np.random.default_rng(0).normal(0, 1, (2, 3, 32, 32)).astype(np.float32)
    for name, module in {
        "body": nn.Sequential(*body),
        "projected": nn.Sequential(*body, nn.Linear(16, 24)),
        "many": nn.Sequential(*body, nn.Linear(16, 24), nn.Sigmoid()),
    }.items():
        with torch.inference_mode():
            seen = (nn.Sequential(*body) if name == "many" else module).eval()(torch.from_numpy(batch)).numpy()
        file = export(f"onnx:{onnx_of(module, tmp_path / f'{name}.onnx')}", made.options(no_probs=True))
        _, features = Session(file, "cpu", 1).run(batch)
        np.testing.assert_allclose(features, seen, atol=1e-5)
        spec = made.options(no_probs=True).preprocess.spec((32, 32), None, "net")
        options = ExportOptions(no_probs=True)
        draft = traced(Network(module.eval(), name, spec, (), "", None), f"small:{name}", options, SilentProgress())
        _, metadata = _scoring_model(draft, options, SilentProgress())
        assert not metadata.has_probs
        assert metadata.parity["n_features"] == seen.shape[1]
        assert metadata.parity["reference"].startswith("torch")
    ranking = leepfrog.rank(photo_set(4), ["body", "projected", "many"])
    assert {model.n_source for model in ranking} == {None}
    alone = ModelFile.read(home / "models" / "body.onnx")
    export_probe(alone)
    assert export_variant(alone, "fp16").metadata.parity["features_cosine"] > 0.99
