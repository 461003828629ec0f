"""Scoring models from untrusted files: they are read, loaded and run, or a one-line error names the file."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import models_made as made
import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from leepfrog.errors import LeepfrogError, MachineError, ModelError, UsageError
from leepfrog.inference.metadata import PREFIX
from leepfrog.inference.model import ModelFile, Session
from leepfrog.inference.model_lookup import exported, find_models
from onnx import ModelProto, TensorProto, helper, numpy_helper

ORT = onnxruntime.__version__
S = made.SIDE


def write(path: Path, model: ModelProto) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def changed(change: Callable[[ModelProto], object]) -> ModelProto:
    model = made.scoring()
    change(model)
    return model


def refusal(call: Callable[[], object], path: Path, error: type[LeepfrogError] = ModelError) -> str:
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message or error is not ModelError
    return message


def test_good_model(tmp_path: Path) -> None:
    file = ModelFile.read(write(tmp_path / "made.onnx", made.scoring(labels=("a", "b", "c", "d", "e"), license="MIT")))
    assert (file.name, file.size) == ("made", file.path.stat().st_size)
    assert (file.metadata.license, file.metadata.labels) == ("MIT", ("a", "b", "c", "d", "e"))
    assert file.metadata.preprocess == made.SPEC
    session = Session(file, "cpu", 1)
    assert (session.n_source, session.n_features) == (made.CLASSES, made.WIDTH)
    probs, features = session.run(made.images(4))
    expected_probs, expected_features = made.classifier().expected(made.images(4))
    assert probs.dtype == features.dtype == np.float32
    np.testing.assert_allclose(probs, expected_probs, atol=1e-5)
    np.testing.assert_allclose(features, expected_features, atol=1e-5)
    assert Session(file, "cpu", 2).run(made.images(4))[0] == pytest.approx(probs, abs=1e-6)


BROKEN: dict[str, tuple[bytes | None, str]] = {
    "missing": (None, "cannot be read: No such file"),
    "empty file": (b"", r"empty file \(0 bytes\)"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    "random": (np.random.default_rng(1).bytes(3000), "not an ONNX model, or cut short"),
    "truncated": (made.scoring().SerializeToString()[:-9], "cut short|not a scoring model|metadata is"),
    "not exported": (
        made.classifier().model.SerializeToString(),
        "not a scoring model yet; convert it: leepfrog export onnx:.*bad.onnx --preprocess PRESET",
    ),
}


@pytest.mark.parametrize(("content", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_files(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    if content is not None:
        path.write_bytes(content)
    assert re.search(message, refusal(lambda: ModelFile.read(path), path))


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert "cannot be read" in refusal(lambda: ModelFile.read(tmp_path), tmp_path)


def external(location: str) -> ModelProto:
    model = made.external(made.Made(made.scoring(), {}, "gemm"), location)
    assert any(tensor.data_location == TensorProto.EXTERNAL for tensor in model.graph.initializer)
    return model


def input_shape(*dims: int | str) -> Callable[[ModelProto], None]:
    return lambda m: m.graph.input[0].CopyFrom(helper.make_tensor_value_info("image", TensorProto.FLOAT, dims))


def operator(name: str, domain: str = "") -> Callable[[ModelProto], None]:
    def change(model: ModelProto) -> None:
        model.graph.node[1].op_type, model.graph.node[1].domain = name, domain
        if domain:
            model.opset_import.append(helper.make_opsetid(domain, 1))

    return change


def renamed_output(model: ModelProto) -> None:
    model.graph.node.append(helper.make_node("Identity", ["probs"], ["other"]))
    model.graph.output[0].name = "other"


def open_width(model: ModelProto) -> None:
    """Give the features a computed width, which onnxruntime cannot infer."""
    model.graph.node.append(helper.make_node("Compress", ["features", "those"], ["some"], axis=1))
    model.graph.initializer.append(numpy_helper.from_array(np.ones(made.WIDTH, bool), "those"))
    model.graph.output[1].CopyFrom(helper.make_tensor_value_info("some", TensorProto.FLOAT, ["N", "W"]))
    for node in model.graph.node[:-1]:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                names[i] = "all" if name == "features" else name
    model.graph.node[-1].input[0], model.graph.node[-1].output[0] = "all", "features"
    model.graph.output[1].name = "features"


def maps_as_features(model: ModelProto) -> None:
    """Give the features the shape [N, D, 1, 1], as returned by networks whose pooling keeps the axes."""
    model.graph.node.append(helper.make_node("Unsqueeze", ["features", "last_axes"], ["maps_out"]))
    model.graph.initializer.append(numpy_helper.from_array(np.array([2, 3]), "last_axes"))
    for node in model.graph.node[:-1]:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                names[i] = "all" if name == "features" else name
    model.graph.node[-1].input[0], model.graph.node[-1].output[0] = "all", "features"
    model.graph.output[1].CopyFrom(
        helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", made.WIDTH, 1, 1])
    )


UNLOADABLE: dict[str, tuple[ModelProto, str]] = {
    "external data in the same folder": (
        external("weights.bin"),
        "stores its weights in another file; export it to a single file",
    ),
    "missing external data": (external("absent.bin"), "stores its weights in another file"),
    "external data in the parent folder": (external("../weights.bin"), "stores its weights in another file"),
    "external data at an absolute path": (external("/etc/hostname"), "stores its weights in another file"),
    "unknown operator": (
        changed(operator("Frobnicate")),
        f"the operator Frobnicate, which onnxruntime {ORT} does not support",
    ),
    "unknown domain": (changed(operator("Frobnicate", "com.acme")), f"com.acme[.:]Frobnicate.*{ORT} does not support"),
    "opset too new": (
        changed(lambda m: m.opset_import[0].__setattr__("version", 99)),
        f"needs opset 99 of ai.onnx; .*{ORT}.*upgrade",
    ),
    "ir too new": (changed(lambda m: m.__setattr__("ir_version", 99)), f"IR version 99 is newer than [0-9]+, .*{ORT}"),
    "renamed input": (
        changed(lambda m: (input_shape("N", 3, S, S)(m), m.graph.input[0].__setattr__("name", "pixels"))),
        "not those of a scoring model|cannot load it",
    ),
    "two inputs": (
        changed(lambda m: m.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))),
        "inputs or outputs are not those of a scoring model; export it again",
    ),
    "no probs": (changed(renamed_output), "inputs or outputs are not those of a scoring model"),
    "fixed batch": (
        changed(input_shape(1, 3, S, S)),
        r"input is tensor\(float\) \[1, 3, 8, 8\], but its metadata declares float \['N', 3, 8, 8\]",
    ),
    "different size": (changed(input_shape("N", 3, S, S + 1)), r"declares float \['N', 3, 8, 8\]"),
    "dynamic size": (changed(input_shape("N", 3, S, "W")), r"declares float \['N', 3, 8, 8\]"),
    "feature maps as features": (changed(maps_as_features), "outputs are not float matrices with one row per image"),
    "dynamic width": (changed(open_width), "output widths are not fixed"),
}


@pytest.mark.parametrize(("model", "message"), UNLOADABLE.values(), ids=UNLOADABLE.keys())
def test_unloadable(model: ModelProto, message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "zoo"
    folder.mkdir()
    for where in (tmp_path, folder):
        filters = made.classifier().weights["filters"].astype(np.float32)
        (where / "weights.bin").write_bytes(filters.tobytes())  # present wherever a model may look for it
    path = write(folder / "bad.onnx", model)
    file = ModelFile.read(path)
    error = refusal(lambda: Session(file, "cpu", 1), path)
    assert re.search(message, error)
    assert len(error) < 600
    assert capfd.readouterr().out == ""  # onnxruntime's own fallback would print


def weight(name: str, value: float) -> Callable[[ModelProto], None]:
    def change(model: ModelProto) -> None:
        tensor = next(t for t in model.graph.initializer if t.name == name)
        tensor.CopyFrom(numpy_helper.from_array(np.full(tensor.dims, value, np.float32), name))

    return change


def instead_of_softmax(operator: str) -> ModelProto:
    return changed(lambda m: m.graph.node[-1].__setattr__("op_type", operator))


UNSCORABLE: dict[str, tuple[ModelProto, str]] = {
    "nan": (changed(weight("linear", np.nan)), "NaN or infinity for image seven"),
    "inf": (changed(weight("filters", np.inf)), "NaN or infinity for image seven"),
    "logits": (instead_of_softmax("Identity"), "probabilities that sum to .* for image seven; it cannot be scored"),
    "sigmoid": (instead_of_softmax("Sigmoid"), "probabilities that sum to "),
    "log": (instead_of_softmax("LogSoftmax"), "probabilities that sum to -"),
}


@pytest.mark.parametrize(("model", "message"), UNSCORABLE.values(), ids=UNSCORABLE.keys())
def test_unscorable(model: ModelProto, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "bad.onnx", model)
    session = Session(ModelFile.read(path), "cpu", 1)
    error = refusal(lambda: session.run(made.images(2), lambda row: ["image seven", "image eight"][row]), path)
    assert re.search(message, error)


def test_only_the_features_are_infinite(tmp_path: Path) -> None:
    def change(model: ModelProto) -> None:
        weight("filters", np.inf)(model)
        model.graph.node[-1].CopyFrom(helper.make_node("Softmax", ["bias_row"], ["probs"]))
        model.graph.node[-2].CopyFrom(helper.make_node("Identity", ["fixed"], ["bias_row"]))
        fixed = np.zeros((1, made.CLASSES), np.float32)
        model.graph.initializer.append(numpy_helper.from_array(fixed, "fixed"))

    path = write(tmp_path / "bad.onnx", changed(change))
    session = Session(ModelFile.read(path), "cpu", 1)
    assert "features with NaN or infinity for row 0" in refusal(lambda: session.run(made.images(1)), path)


def test_a_batch_that_does_not_fit(tmp_path: Path) -> None:
    path = write(tmp_path / "made.onnx", made.scoring())
    session = Session(ModelFile.read(path), "cpu", 1)
    assert "onnxruntime failed" in refusal(lambda: session.run(made.images(2)[:, :, :5]), path)


def test_changed_between_reading_and_loading(tmp_path: Path) -> None:
    path = write(tmp_path / "made.onnx", made.scoring())
    file = ModelFile.read(path)
    write(path, made.scoring(license="MIT"))
    assert "the file changed while it was being used; run again" in refusal(lambda: Session(file, "cpu", 1), path)
    path.unlink()
    assert "cannot be read" in refusal(lambda: Session(file, "cpu", 1), path)


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this onnxruntime has CUDA"
)
def test_gpu_that_is_not_there(tmp_path: Path) -> None:
    file = ModelFile.read(write(tmp_path / "made.onnx", made.scoring()))
    message = refusal(lambda: Session(file, "cuda", 1), file.path, MachineError)
    assert f"onnxruntime {ORT} has no CUDAExecutionProvider" in message
    assert "pip install onnxruntime-gpu" in message
    assert "device 'tpu' is unknown; one of cpu, cuda" in refusal(
        lambda: Session(file, "tpu", 1), file.path, UsageError
    )


@settings(max_examples=150)
@given(data=st.data())
def test_damaged_files_run_or_one_line(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    content = bytearray(REAL)
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.onnx"
    path.write_bytes(content)
    try:
        probs, _ = Session(ModelFile.read(path), "cpu", 1).run(made.images(2))
        np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-3)
    except ModelError as error:
        assert "\n" not in str(error)  # noqa: PT017


REAL = made.scoring().SerializeToString()


def test_find_models(home: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no models have been exported yet; leepfrog zoo pull"):
        find_models([])
    folder = home / "models"
    folder.mkdir(parents=True)
    for name in ("net_b", "net_a", "other"):
        write(folder / f"{name}.onnx", made.scoring(name=name, source=f"onnx:{name}_source.onnx"))
    (folder / ".net_c.onnx.1-ab.part").write_bytes(b"half a mod")
    elsewhere = write(tmp_path / "elsewhere.onnx", made.scoring(name="elsewhere", source="timm:x"))

    def names_of(*wanted: str | Path) -> list[str]:
        return [file.name for file in find_models(wanted)]

    assert list(exported()) == ["net_a", "net_b", "other"]
    assert names_of() == ["net_a", "net_b", "other"]
    assert names_of("other", "net_*") == ["other", "net_a", "net_b"]
    assert names_of("net_a", "net_?", folder / "net_a.onnx") == ["net_a", "net_b"]
    assert names_of(f"onnx:{tmp_path}/net_b_source.onnx") == ["net_b"]
    assert names_of(elsewhere) == ["elsewhere"]
    assert names_of(tmp_path) == ["elsewhere"]
    for wanted, message in (
        (
            "absent",
            "no exported model is called 'absent', and no file or folder; one of net_a, net_b, other; leepfrog zoo",
        ),
        ("timm:x", "no exported model is called 'timm:x'.*leepfrog export timm:x"),
        ("absent*", "no exported model is called"),
    ):
        with pytest.raises(UsageError, match=message):
            find_models([wanted])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"no \.onnx files in this folder"):
        find_models([tmp_path / "empty"])
    with pytest.raises(ModelError, match=r"absent\.onnx: cannot be read"):
        find_models([tmp_path / "absent.onnx"])
    (folder / "broken.onnx").write_bytes(b"")
    with pytest.raises(ModelError, match=r"broken\.onnx: empty file"):
        find_models([])
    assert names_of("other") == ["other"]


def test_metadata_of_a_file_is_checked(tmp_path: Path) -> None:
    model = made.scoring()
    entry = next(entry for entry in model.metadata_props if entry.key == f"{PREFIX}preprocess")
    entry.value = entry.value.replace("bilinear", "cubic-spline")
    path = write(tmp_path / "bad.onnx", model)
    assert "interpolation 'cubic-spline' is unknown; one of nearest" in refusal(lambda: ModelFile.read(path), path)


def test_paths_that_are_not_utf8(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/n\xe9t.onnx"))
    path.write_bytes(b"")
    with pytest.raises(ModelError, match=r"n\\xe9t\.onnx: empty file"):
        ModelFile.read(path)
    write(path, made.scoring())
    Session(ModelFile.read(path), "cpu", 1).run(made.images(1))
