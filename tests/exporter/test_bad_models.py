"""Invalid onnx: sources: rejected with a one-line error that names the file, without writing anything."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import models_made as made
import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from leepfrog.errors import BadInputError, LeepfrogError, MachineError, ModelError, UsageError
from leepfrog_exporter.export import ExportOptions, export
from leepfrog_exporter.presets import PreprocessChoice
from onnx import ModelProto, TensorProto, helper

S = made.SIDE
ORT = onnxruntime.__version__


def serialized(**kind: object) -> bytes:
    return made.classifier(**kind).model.SerializeToString()  # type: ignore[arg-type]


def with_tail(*operators: str, **kind: object) -> bytes:
    return serialized(tail=operators, **kind)


def after(*nodes: onnx.NodeProto, **constants: np.ndarray) -> bytes:
    """Return a classifier with nodes appended after `scores`; its output is `end`."""
    return made.add_tail(made.classifier(), *nodes, output="end", **constants).model.SerializeToString()


def changed(change: Callable[[ModelProto], object], **kind: object) -> bytes:
    model = made.classifier(**kind).model  # type: ignore[arg-type]
    change(model)
    return model.SerializeToString()


def second_input(model: ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("size", TensorProto.FLOAT, ["N", 2]))


def foreign_operator(domain: str, version: int) -> Callable[[ModelProto], None]:
    def change(model: ModelProto) -> None:
        model.graph.node[1].op_type, model.graph.node[1].domain = "Frobnicate", domain
        if domain:
            model.opset_import.append(helper.make_opsetid(domain, version))

    return change


def external(location: str, offset: int | None = None) -> bytes:
    return made.external(made.classifier(), location, offset).SerializeToString()


def weights(name: str, value: float) -> Callable[[ModelProto], None]:
    def change(model: ModelProto) -> None:
        tensor = next(t for t in model.graph.initializer if t.name == name)
        array = onnx.numpy_helper.to_array(tensor).copy()
        array.flat[0] = value
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, name))

    return change


def no_linear_layer(model: ModelProto) -> None:
    model.graph.node[-1].CopyFrom(helper.make_node("Flatten", ["conv"], ["scores"]))


def before_linear(*nodes: onnx.NodeProto, **constants: np.ndarray) -> bytes:
    """Return a classifier with nodes between `deep` and `in`, the new input of its Gemm."""
    made_network = made.classifier()
    graph = made_network.model.graph
    graph.node[-1].input[0] = "in"
    last = graph.node.pop()
    made.add_tail(made_network, *nodes, last, output="scores", **constants)
    return made_network.model.SerializeToString()


def without_batch_axis(model: ModelProto) -> None:
    graph = model.graph
    del graph.input[0].type.tensor_type.shape.dim[0]
    graph.initializer.append(onnx.numpy_helper.from_array(np.array([0]), "axes"))
    graph.node.insert(0, node("Unsqueeze", ["pixels", "axes"], ["batch"]))
    graph.node[1].input[0] = "batch"


def without_input(model: ModelProto) -> None:
    del model.graph.input[:]
    model.graph.initializer.append(onnx.numpy_helper.from_array(made.images(1), "pixels"))


node = helper.make_node
GOOD = made.classifier().model.SerializeToString()
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 13\n"
BAD: dict[str, tuple[bytes, str]] = {
    "zero bytes": (b"", r"empty file \(0 bytes\)"),
    "git lfs pointer": (LFS, "a Git LFS pointer, not the model .*git lfs pull"),
    "truncated": (serialized()[:-100], "not an ONNX model, or cut short"),
    "truncated early": (serialized()[:20], "not an ONNX model, or cut short"),
    "random bytes": (np.random.default_rng(0).bytes(5000), "not an ONNX model, or cut short"),
    "text": (b"<!DOCTYPE html><html>404 Not Found</html>", "not an ONNX model, or cut short"),
    "graph of rubbish": (b"\x08\x08\x3a\x04\xff\xff\xff\xff\x42\x02\x10\x11", "not an ONNX model, or cut short"),
    "external data missing": (external("absent.bin"), "external data cannot be used: .*absent.bin"),
    "external data outside": (external("../outside.bin"), "external data cannot be used"),
    "external data absolute": (external("/etc/hostname"), "external data cannot be used"),
    "external data too short": (external("short.bin", offset=4096), "external data cannot be used"),
    "external data through a link": (external("link.bin"), "external data cannot be used"),
    "unknown operator": (changed(foreign_operator("", 0)), f"operator Frobnicate, .*{ORT}"),
    "unknown domain": (changed(foreign_operator("com.acme", 1)), f"operator com.acme[.:]Frobnicate.*{ORT}"),
    "opset too new": (serialized(opset=999), f"needs opset 999 of ai.onnx; onnxruntime {ORT} .*up to [0-9]+"),
    "ir too new": (serialized(ir=999), f"IR version 999 is newer than [0-9]+, .*onnxruntime {ORT}"),
    "two inputs": (changed(second_input), r"has 2 inputs \(pixels, size\)"),
    "two channels": (changed(lambda m: None, shape=("N", 2, S, S)), "2 channels|cannot load"),
    "int32 input": (
        changed(lambda m: m.graph.input[0].type.tensor_type.__setattr__("elem_type", TensorProto.INT32)),
        "INT32|cannot load",
    ),
    "one class": (with_tail("Softmax", classes=1), "1 source class; scores need at least 2"),
    "softmax twice": (with_tail("Softmax", "Softmax"), "cannot find the last linear layer: Softmax"),
    "softmax over the batch": (after(node("Softmax", ["scores"], ["end"], axis=0)), "refused"),
    "softmax scaled": (
        after(node("Softmax", ["scores"], ["p"]), node("Mul", ["p", "two"], ["end"]), two=np.float32([2])),
        r"rows sum to 2, not 1, because Mul \(output 'end'\) follows the softmax",
    ),
    "no linear layer": (changed(no_linear_layer), r"cannot find the last linear layer: Conv.*candidates are 'scores'"),
    "a map of classes": (
        changed(lambda m: m.graph.output[0].__setattr__("name", "square"), head="squeezenet"),
        r"not a classifier: it returns \[5, 8, 8\] values per image",
    ),
    "nan weights": (changed(weights("linear", np.nan)), "outputs contain NaN or infinity"),
    "inf bias": (changed(weights("bias", np.inf)), "outputs contain NaN or infinity"),
    "mixes the batch": (
        before_linear(node("ReduceMean", ["deep"], ["m"], axes=[0]), node("Sub", ["deep", "m"], ["in"])),
        "mixes images",
    ),
    "batch of 1 inside": (
        before_linear(node("Reshape", ["deep", "row"], ["in"]), row=np.array([1, 6])),
        "does not run on 4 image.*batch",
    ),
    "first image alone": (
        before_linear(node("Gather", ["deep", "zero"], ["in"]), zero=np.array([0])),
        r"returns 1 row\(s\) for 4 images",
    ),
    "no batch axis": (
        changed(without_batch_axis),
        r"input 'pixels' is \[3, 8, 8\], without a batch axis.*\[N, 3, H, W\]",
    ),
    "batch of a billion": (serialized(shape=(10**9, 3, S, S)), "takes batches of 1000000000 images only"),
    "no input": (changed(without_input), "has no input"),
    "name that is not utf-8": (serialized().replace(b"scores", b"sc\xffres"), "names that are not UTF-8"),
    "a vector": (changed(lambda m: None, shape=("N", 192)), r"\['N', 192\]; a scoring model takes images|cannot load"),
    "double": (serialized(kind=TensorProto.DOUBLE), f"onnxruntime {ORT} cannot load it: .*implementation for Conv"),
}


@pytest.fixture
def there(home: Path, tmp_path: Path) -> tuple[Path, bytes]:
    """Valid exported model with the name that the invalid one would get, and its content."""
    path = made.classifier().save(tmp_path / "good.onnx")
    file = export(f"onnx:{path}", made.options(name="bad"))
    return file.path, file.path.read_bytes()


def refusal(path: Path, options: ExportOptions | None = None, error: type[LeepfrogError] = ModelError) -> str:
    with pytest.raises(error) as caught:
        export(f"onnx:{path}", options or made.options(force=True))
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 700
    assert str(path) in message
    return message


def only(there: tuple[Path, bytes]) -> bool:
    """Return whether the models folder contains only the valid model, unchanged."""
    return list(there[0].parent.iterdir()) == [there[0]] and there[0].read_bytes() == there[1]


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD.keys())
def test_refused(content: bytes, message: str, there: tuple[Path, bytes], tmp_path: Path) -> None:
    (tmp_path / "outside.bin").write_bytes(bytes(5000))
    folder = tmp_path / "stranger"
    folder.mkdir()
    (folder / "short.bin").write_bytes(bytes(100))
    (folder / "link.bin").symlink_to(tmp_path / "outside.bin")
    path = folder / "bad.onnx"
    path.write_bytes(content)
    assert re.search(f"bad\\.onnx: .*({message})", refusal(path))
    assert only(there)


@pytest.mark.parametrize("name", ["absent.onnx", "folder.onnx"])
def test_no_such_file(name: str, there: tuple[Path, bytes], tmp_path: Path) -> None:
    (tmp_path / "folder.onnx").mkdir()
    assert "cannot be read" in refusal(tmp_path / name)
    assert only(there)


USAGE: dict[str, tuple[dict[str, object], type[LeepfrogError], str]] = {
    "no preprocessing": (
        {"preprocess": PreprocessChoice()},
        UsageError,
        "--preprocess imagenet .*caffe, or --mean and --std",
    ),
    "mean without std": ({"preprocess": PreprocessChoice(mean=(0, 0, 0))}, UsageError, "--mean and --std"),
    "another size": (
        {"preprocess": PreprocessChoice("unit", (9, 9))},
        ModelError,
        "is 8 x 8 pixels, not 9 x 9 as requested",
    ),
    "resize below input": ({"preprocess": PreprocessChoice("unit", None, (4, 4))}, ModelError, "resize_size.*smaller"),
    "interpolation": (
        {"preprocess": PreprocessChoice("unit", interpolation="cubic")},
        ModelError,
        "one of nearest, box",
    ),
    "resize mode": (
        {"preprocess": PreprocessChoice("unit", resize_mode="crop")},
        ModelError,
        "one of cover, stretch, letterbox",
    ),
    "channel order": ({"preprocess": PreprocessChoice("unit", channel_order="grb")}, ModelError, "one of rgb, bgr"),
    "std of 0": ({"preprocess": PreprocessChoice("unit", std=(1, 0, 1))}, ModelError, "std must not be 0"),
}


@pytest.mark.parametrize(("values", "error", "message"), USAGE.values(), ids=USAGE.keys())
def test_wrong_preprocessing(
    values: dict, error: type[LeepfrogError], message: str, there: tuple[Path, bytes], tmp_path: Path
) -> None:
    path = made.classifier().save(tmp_path / "bad.onnx")
    assert re.search(message, refusal(path, made.options(force=True, **values), error))
    assert only(there)


def test_unknown_preset(home: Path, tmp_path: Path) -> None:
    path = made.classifier().save(tmp_path / "net.onnx")
    with pytest.raises(UsageError, match="preset 'imagnet' is unknown; did you mean imagenet"):
        export(f"onnx:{path}", made.options(preprocess=PreprocessChoice("imagnet")))


def test_bytes_cannot_hold_normalized_pixels(there: tuple[Path, bytes], tmp_path: Path) -> None:
    path = made.classifier(kind=TensorProto.UINT8).save(tmp_path / "bad.onnx")
    assert "uint8, so pixels must stay in 0..255; add --preprocess raw" in refusal(path, error=UsageError)
    assert only(there)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (b"one\ntwo\n", ModelError, "has 5 classes, but 2 labels are given"),
        (b"a\nb\nc\nd\ne\nf", ModelError, "has 5 classes, but 6 labels are given"),
        (b"a\nb\n\xff\nd\ne", BadInputError, "labels.txt: labels cannot be read"),
        (None, BadInputError, "labels.txt: labels cannot be read"),
    ],
)
def test_wrong_labels(
    text: bytes | None, error: type[LeepfrogError], message: str, there: tuple[Path, bytes], tmp_path: Path
) -> None:
    path, labels = made.classifier().save(tmp_path / "bad.onnx"), tmp_path / "labels.txt"
    if text is not None:
        labels.write_bytes(text)
    with pytest.raises(error, match=message):
        export(f"onnx:{path}", made.options(labels=labels, force=True))
    assert only(there)


@pytest.mark.parametrize("source", ["", "onnx:", "resnet", "keras:resnet50", "net.onnx", "zoo:absent", "a b:c"])
def test_unknown_source(source: str, home: Path) -> None:
    with pytest.raises(UsageError) as caught:
        export(source)
    assert source.removeprefix("zoo:") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not home.exists()


@pytest.mark.parametrize("name", ["../up", "a/b", "a\\b", ".hidden", "", "new\nline", "nul\0"])
def test_names_that_are_no_file_names(name: str, home: Path, tmp_path: Path) -> None:
    path = made.classifier().save(tmp_path / "net.onnx")
    if not name:  # the same as no name
        assert export(f"onnx:{path}", made.options(name=name)).name == "net"
        return
    with pytest.raises(UsageError, match="cannot be a file name"):
        export(f"onnx:{path}", made.options(name=name))
    assert not (home / "models").exists()


def test_random_weights_are_not_for_files(home: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--random-weights is for timm and torchvision"):
        export("onnx:net.onnx", made.options(random_weights=True))


def test_models_folder_that_cannot_be_written(home: Path, tmp_path: Path) -> None:
    home.write_text("a file where the folder should be")
    path = made.classifier().save(tmp_path / "net.onnx")
    with pytest.raises(MachineError, match=r"cannot write .*net\.onnx"):
        export(f"onnx:{path}", made.options())


@pytest.mark.full
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_give_a_model_or_one_line(data: st.DataObject, there: tuple[Path, bytes], tmp_path: Path) -> None:
    """Random byte changes cause only deliberate errors, and errors leave no files."""
    content = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.onnx"
    path.write_bytes(content)
    try:
        export(f"onnx:{path}", made.options(force=True)).path.unlink()
    except LeepfrogError as error:
        assert "\n" not in str(error)  # noqa: PT017
    assert only(there)
