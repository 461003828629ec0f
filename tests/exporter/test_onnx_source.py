"""Valid onnx: sources, compared with a numpy implementation."""

from __future__ import annotations

import os
import site
from pathlib import Path

import models_made as made
import numpy as np
import onnx
import onnx.reference
import pytest
from leepfrog.errors import ModelError, UsageError
from leepfrog.inference.model import ModelFile, Session
from leepfrog.inference.model_lookup import find_models
from leepfrog_exporter.choices import PRESETS
from leepfrog_exporter.export import export
from leepfrog_exporter.presets import PreprocessChoice
from onnx import TensorProto, helper

S = made.SIDE

GOOD = {
    **{f"head {head}": {"head": head} for head in made.HEADS},
    "softmax": {"tail": ("Softmax",)},
    "log-softmax": {"tail": ("LogSoftmax",)},
    "conv, softmax": {"head": "conv", "tail": ("Softmax",)},
    "dropout, identity": {"tail": ("Identity", "Softmax", "Identity")},
    "batch of 1": {"shape": (1, 3, S, S)},
    "batch of 1, reshape to 1,-1": {"shape": (1, 3, S, S), "fixed_reshape": 1},
    "batch of 2, reshape to 2,-1": {"shape": (2, 3, S, S), "fixed_reshape": 2},
    "batch without a name": {"shape": (None, 3, S, S)},
    "nhwc": {"shape": ("N", S, S, 3)},
    "nhwc, batch of 1": {"shape": (1, S, S, 3), "fixed_reshape": 1},
    "nhwc, positions": {"shape": ("N", S, S, 3), "head": "positions", "tail": ("Softmax",)},
    "uint8": {"kind": TensorProto.UINT8},
    "uint8, nhwc": {"kind": TensorProto.UINT8, "shape": (1, S, S, 3)},
    "21,000 classes": {"classes": 21_000},
    "two classes": {"classes": 2},
    "names of the contract": {"names": ("image", "features", "probs"), "tail": ("Softmax",)},
    "names of the contract, crossed": {"names": ("probs", "image", "features")},
    "names of the contract, crossed again": {"names": ("features", "probs", "image"), "tail": ("Softmax",)},
    "leepfrog's own names": {"names": ("leepfrog_image", "leepfrog_features", "leepfrog_logits")},
    "weights among the inputs": {"ir": 3, "opset": 9},
    "opset 7": {"ir": 3, "opset": 7},
    "opset 13": {"opset": 13},
}


def batch_for(file: ModelFile, n: int) -> made.Floats:
    """Return n images in the model's input range; integers if it takes uint8."""
    if file.metadata.preprocess.std[0] == PRESETS["raw"]["std"][0]:
        return np.random.default_rng(1).integers(0, 256, (n, 3, S, S)).astype(np.float32)
    return made.images(n)


def check_contract(file: ModelFile, network: made.Made, tolerance: float = 1e-5) -> None:
    """Compare the outputs for a batch and for single images with numpy's."""
    session = Session(file, "cpu", 1)
    batch = batch_for(file, 3)
    probs, features = session.run(batch)
    expected_probs, expected_features = network.expected(batch)
    assert probs.dtype == features.dtype == np.float32
    assert (session.n_source, session.n_features) == (probs.shape[1], features.shape[1])
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(probs, expected_probs, atol=tolerance)
    np.testing.assert_allclose(features, expected_features, rtol=10 * tolerance, atol=tolerance)
    alone = [session.run(image[None]) for image in batch]
    np.testing.assert_allclose(np.concatenate([p for p, _ in alone]), probs, atol=1e-5)
    np.testing.assert_allclose(np.concatenate([f for _, f in alone]), features, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", GOOD.values(), ids=GOOD.keys())
def test_good_model(kind: dict, home: Path, tmp_path: Path) -> None:
    network = made.classifier(**kind)
    path = network.save(tmp_path / "stranger.onnx")
    choice = PreprocessChoice(preset="raw") if kind.get("kind") == TensorProto.UINT8 else made.IMAGENET
    named = None
    if kind.get("head") == "squeezenet" or "features" in kind.get("names", ()):  # else refused as an embedding
        named = tmp_path / "labels.txt"
        named.write_text("\n".join("abcde"))
    file = export(f"onnx:{path}", made.options(preprocess=choice, labels=named))
    assert file.path == home / "models" / "stranger.onnx"
    assert (file.metadata.name, file.metadata.source) == ("stranger", "onnx:stranger.onnx")
    check_contract(file, network)
    onnx.checker.check_model(onnx.load(file.path), full_check=True)
    content = file.path.read_bytes()
    for private in (str(tmp_path), *site.getsitepackages(), str(Path.home())):
        assert private.encode() not in content


def test_half_precision(home: Path, tmp_path: Path) -> None:
    network = made.classifier(kind=TensorProto.FLOAT16)
    file = export(f"onnx:{network.save(tmp_path / 'half.onnx')}", made.options())
    check_contract(file, network, tolerance=5e-3)
    assert file.metadata.parity["tolerance"] >= 3e-2


def test_batch_norm_lrn_and_clip(home: Path, tmp_path: Path) -> None:
    """Networks not implemented in numpy are compared with the original file by the parity check."""
    network = made.classifier()
    statistics = {name: np.linspace(0.5, 1.5, made.WIDTH, dtype=np.float32) for name in ("scale", "b", "mean_", "var")}
    node = helper.make_node("BatchNormalization", ["conv", *statistics], ["normed"])
    made.add_tail(network, output="scores", **statistics)
    nodes = list(network.model.graph.node)
    nodes[1].input[0] = "clipped"
    nodes[1:1] = [
        node,
        helper.make_node("LRN", ["normed"], ["lrn"], size=3),
        helper.make_node("Clip", ["lrn"], ["clipped"]),
    ]
    del network.model.graph.node[:]
    network.model.graph.node.extend(nodes)
    file = export(f"onnx:{network.save(tmp_path / 'norm.onnx')}", made.options())
    assert file.metadata.parity["max_difference"] <= 1e-5
    assert file.metadata.parity["top1_agreement"] == 1


def test_external_data_is_inlined(home: Path, tmp_path: Path) -> None:
    network = made.classifier()
    folder = tmp_path / "sub"
    folder.mkdir()
    onnx.save(network.model, folder / "split.onnx", save_as_external_data=True, location="split.bin", size_threshold=0)
    file = export(f"onnx:{folder / 'split.onnx'}", made.options())
    (folder / "split.bin").unlink()
    assert [path.name for path in (home / "models").iterdir()] == ["split.onnx"]
    check_contract(file, network)


def test_nhwc_equals_nchw(home: Path, tmp_path: Path) -> None:
    files = [
        export(f"onnx:{made.classifier(shape=shape).save(tmp_path / name)}", made.options())
        for shape, name in ((("N", 3, S, S), "first.onnx"), (("N", S, S, 3), "last.onnx"))
    ]
    first, last = (Session(file, "cpu", 1).run(made.images(3)) for file in files)
    np.testing.assert_allclose(first[0], last[0], atol=1e-6)
    np.testing.assert_allclose(first[1], last[1], atol=1e-6)


def two_outputs() -> made.Made:
    network = made.classifier()
    network.model.graph.output.append(helper.make_tensor_value_info("maps", TensorProto.FLOAT, None))
    return network


def test_output_name(home: Path, tmp_path: Path) -> None:
    network = two_outputs()
    path = network.save(tmp_path / "two.onnx")
    check_contract(export(f"onnx:{path}", made.options(output_name="scores")), network)
    with pytest.raises(ModelError, match=r"two\.onnx: has 2 outputs \(scores, maps\).*--output-name"):
        export(f"onnx:{path}", made.options(force=True))
    with pytest.raises(ModelError, match=r"two\.onnx: has no output 'absent'; it has scores, maps"):
        export(f"onnx:{path}", made.options(output_name="absent", force=True))


def test_weights_of_a_dropped_output_leave_no_input(home: Path, tmp_path: Path) -> None:
    network = made.classifier(ir=3, opset=9)
    graph = network.model.graph
    graph.initializer.append(onnx.numpy_helper.from_array(np.ones(1, np.float32), "gain"))
    graph.input.append(helper.make_tensor_value_info("gain", TensorProto.FLOAT, [1]))
    graph.node.append(helper.make_node("Mul", ["maps", "gain"], ["louder"]))
    graph.output.append(helper.make_tensor_value_info("louder", TensorProto.FLOAT, None))
    file = export(f"onnx:{network.save(tmp_path / 'old.onnx')}", made.options(output_name="scores"))
    assert [value.name for value in onnx.load(file.path).graph.input] == ["image"]
    check_contract(file, network)


@pytest.mark.parametrize("shape", [("N", 3, "H", "W"), (1, 3, None, S)])
def test_open_size(shape: tuple[int | str | None, ...], home: Path, tmp_path: Path) -> None:
    network = made.classifier(shape=shape)
    source = f"onnx:{network.save(tmp_path / 'open.onnx')}"
    with pytest.raises(ModelError, match=r"open\.onnx: input 'pixels' has dynamic height and width.*--input-size"):
        export(source, made.options())
    file = export(source, made.options(preprocess=PreprocessChoice(preset="unit", input_size=(S, S))))
    assert file.metadata.preprocess.input_size == (S, S)
    assert file.metadata.preprocess.resize_size == (9, 9)
    check_contract(file, network)


def test_metadata_round_trip(home: Path, tmp_path: Path) -> None:
    network = made.classifier()
    path = network.save(tmp_path / "net.onnx")
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(("kočka", "pes", "日本", 'quoted "x"', "e")) + "\n\n", encoding="utf-8")
    choice = PreprocessChoice("caffe", (S, S), (12, 10), "stretch", "lanczos", (0.1, 0.2, 0.3), channel_order="rgb")
    options = made.options(preprocess=choice, labels=labels, license="MIT", name="own+name-1.0")
    first = export(f"onnx:{path}", options)
    spec = first.metadata.preprocess
    assert (spec.resize_size, spec.resize_mode, spec.interpolation) == ((12, 10), "stretch", "lanczos")
    assert (spec.mean, spec.std, spec.channel_order) == ((0.1, 0.2, 0.3), PRESETS["caffe"]["std"], "rgb")
    assert first.metadata.labels == ("kočka", "pes", "日本", 'quoted "x"', "e")
    assert (first.metadata.name, first.metadata.license) == ("own+name-1.0", "MIT")
    assert first.metadata.n_parameters == sum(value.size for value in network.weights.values())
    assert first.metadata.parity["top1_agreement"] == 1

    again = export(f"onnx:{first.path}", made.options(preprocess=PreprocessChoice(), name="again"))
    once_more = export(f"onnx:{again.path}", made.options(preprocess=PreprocessChoice(), name="more"))
    for file in (again, once_more):
        for key in ("preprocess", "labels", "license", "n_parameters", "top1"):
            assert getattr(file.metadata, key) == getattr(first.metadata, key), key
        check_contract(file, network)


def test_a_folder_or_a_file_as_output(home: Path, tmp_path: Path) -> None:
    path = made.classifier().save(tmp_path / "net.onnx")
    assert export(f"onnx:{path}", made.options(output=tmp_path / "a" / "b")).path == tmp_path / "a" / "b" / "net.onnx"
    assert export(f"onnx:{path}", made.options(output=tmp_path / "c.onnx")).path == tmp_path / "c.onnx"
    assert not home.exists()


def test_another_model_of_that_name_is_not_replaced(home: Path, tmp_path: Path) -> None:
    path = made.classifier().save(tmp_path / "net.onnx")
    there = export(f"onnx:{path}", made.options(name="mine"))
    before = there.path.read_bytes()
    other = made.classifier("conv").save(tmp_path / "other.onnx")
    with pytest.raises(UsageError, match=r"mine\.onnx already exists, exported from onnx:net\.onnx;.* or --force"):
        export(f"onnx:{other}", made.options(name="mine"))
    with pytest.raises(UsageError, match=r"net\.onnx already exists and is not a scoring model; use --force"):
        export(f"onnx:{path}", made.options(output=path))
    (tmp_path / "elsewhere").mkdir()
    namesake = made.classifier("conv").save(tmp_path / "elsewhere" / "net.onnx")
    with pytest.raises(UsageError, match=r"mine\.onnx already exists, exported from another onnx:net\.onnx;"):
        export(f"onnx:{namesake}", made.options(name="mine"))
    assert there.path.read_bytes() == before
    assert export(f"onnx:{path}", made.options(name="mine")).sha256 == there.sha256
    assert export(f"onnx:{other}", made.options(name="mine", force=True)).sha256 != there.sha256


def token_network(batch: int) -> onnx.ModelProto:
    """Return a minimal ViT of fixed batch size: a class token is prepended, mixed with positions and extracted."""
    network = made.classifier(shape=(batch, 3, S, S))
    graph, node = network.model.graph, helper.make_node
    del graph.node[2:]
    graph.node.extend(
        [
            node("Reshape", ["maps", "rows"], ["sequence"], allowzero=1),
            node("Transpose", ["sequence"], ["tokens"], perm=[0, 2, 1]),
            node("Concat", ["token", "tokens"], ["all"], axis=1),
            node("ReduceMean", ["all"], ["mean"], axes=[1], keepdims=1),
            node("Add", ["all", "mean"], ["mixed"]),
            node("Gather", ["mixed", "first"], ["cls"], axis=1),
            node("Reshape", ["cls", "one_axis"], ["line"]),
            node("Gather", ["line", "strided"], ["rows_again"], axis=0),
            node("Gemm", ["rows_again", "linear", "bias"], ["scores"]),
        ]
    )
    arrays = {
        "rows": np.array([batch, made.WIDTH, S * S]),
        "token": np.ones((batch, 1, made.WIDTH), np.float32),
        "first": np.array(0),
        "one_axis": np.array([-1]),
        "strided": np.arange(batch * made.WIDTH).reshape(batch, made.WIDTH),
    }
    graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    return network.model


def test_class_token_and_as_strided(home: Path, tmp_path: Path) -> None:
    """Patterns that torch.onnx.export produces for a ViT and a ConvNeXt with an example of one image."""
    path = tmp_path / "token.onnx"
    onnx.save(token_network(1), path)
    session = Session(export(f"onnx:{path}", made.options()), "cpu", 1)
    original = onnx.reference.ReferenceEvaluator(str(path))
    for image, probs in zip(made.images(3), session.run(made.images(3))[0], strict=True):
        odds = np.exp(original.run(None, {"pixels": image[None]})[0][0])
        np.testing.assert_allclose(probs, odds / odds.sum(), atol=1e-5)


def test_a_path_that_is_not_utf8(home: Path, tmp_path: Path) -> None:
    path = made.classifier().save(Path(os.fsdecode(os.fsencode(tmp_path) + b"/n\xe9t.onnx")))
    with pytest.raises(UsageError, match=r"cannot be a file name.*--name") as caught:
        export(f"onnx:{path}", made.options())
    str(caught.value).encode()
    file = export(f"onnx:{path}", made.options(name="net"))
    assert file.metadata.source == "onnx:n\\xe9t.onnx"
    assert [model.sha256 for model in find_models([f"onnx:{path}"])] == [file.sha256]
