"""Inconsistent models, sessions that fall back to the CPU, and cache keys."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import leepfrog
import models_made as made
import numpy as np
import onnxruntime
import pytest
from commands import Here
from leepfrog.errors import MachineError, ModelError
from leepfrog.execution.context import RunContext
from leepfrog.inference import devices
from leepfrog.inference.cache import cache_key
from leepfrog.inference.consistency import FEW_BITS_TOLERANCE, first_refused, inconsistencies
from leepfrog.inference.header import fingerprint, operators
from leepfrog.inference.load import fallback, load_file, nodes_by_provider
from leepfrog.inference.model import ModelFile, Session
from onnx import ModelProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from photos import folder_of_pieces, photo_set

node = helper.make_node


def random_features(folder: Path) -> ModelProto:
    noise = node("RandomNormalLike", ["before"], ["noise"], scale=0.05)
    return made.scoring_through("features", noise, node("Add", ["before", "noise"], ["features"]))


def dropout(output: str) -> ModelProto:
    # Computed at run time: onnxruntime removes dropout whose mode is constant.
    mode = [node("ReduceMax", ["image"], ["most"], keepdims=0), node("Greater", ["most", "least"], ["training"])]
    # Eight copies of each value: with few values, two runs would often drop the same ones.
    width = made.CLASSES if output == "probs" else made.WIDTH
    fold = np.tile(np.eye(width, dtype=np.float32) / 8, (8, 1))
    nodes = [*mode, node("Concat", ["before"] * 8, ["copies"], axis=1)]
    nodes += [
        node("Dropout", ["copies", "ratio", "training"], ["dropped"]),
        node("MatMul", ["dropped", "fold"], ["folded"]),
    ]
    # Probs must remain a distribution.
    nodes.append(node("Softmax" if output == "probs" else "Identity", ["folded"], [output]))
    return made.scoring_through(output, *nodes, ratio=np.float32(0.5), least=np.float32(-1e9), fold=fold)


def centred_over_the_batch(output: str) -> ModelProto:
    """Return a model that subtracts the batch mean, like batch norm in training mode."""
    mean = node("ReduceMean", ["before"], ["over_batch"], axes=[0])
    after = [node("Sub", ["before", "over_batch"], ["centered"]), node("Softmax", ["centered"], [output])]
    return made.scoring_through(output, mean, *after)


def rows_reversed(output: str) -> ModelProto:
    ends = {"start": np.array([-1]), "stop": np.array([-(2**31)]), "axis": np.array([0]), "step": np.array([-1])}
    return made.scoring_through(output, node("Slice", ["before", *ends], [output]), **ends)


def dynamic(folder: Path) -> ModelProto:
    (folder / "plain.onnx").write_bytes(made.scoring().SerializeToString())
    quantize_dynamic(folder / "plain.onnx", folder / "dynamic.onnx", weight_type=QuantType.QUInt8)
    return ModelProto.FromString((folder / "dynamic.onnx").read_bytes())


ODD: dict[str, tuple[Callable[[Path], ModelProto], tuple[str, ...]]] = {
    "random": (random_features, ("its features", "the same image is run again", "RandomNormalLike")),
    "dropout of probs": (lambda _: dropout("probs"), ("its probs", "run again", "Dropout")),
    "dropout of features": (lambda _: dropout("features"), ("its features", "run again", "Dropout")),
    "batch-norm of probs": (lambda _: centred_over_the_batch("probs"), ("its probs", "other images in the batch")),
    "batch-norm of features": (lambda _: centred_over_the_batch("features"), ("its features", "other images")),
    "reversed probs": (lambda _: rows_reversed("probs"), ("its probs", "other images in the batch")),
    "reversed features": (lambda _: rows_reversed("features"), ("its features", "other images in the batch")),
    "dynamic": (dynamic, ("other images in the batch", "DynamicQuantizeLinear", "--precision int8")),
}


@pytest.mark.parametrize("what", ODD)
def test_fault_13_outputs_that_are_no_function_of_the_image(what: str, home: Path, here: Here) -> None:
    make, words = ODD[what]
    (here.folder / "odd.onnx").write_bytes(make(here.folder).SerializeToString())
    folder_of_pieces(here.folder / "photos", count=3)
    here.call("rank", "photos", "-m", "odd.onnx", "-q").check(3, "odd.onnx", *words)
    assert not list(home.rglob("*.npy"))  # nothing is cached


@pytest.mark.parametrize("batch", [[], ["--batch-size", "1"]])
@pytest.mark.parametrize("command", ["rank", "explain", "embed"])
def test_fault_37_rows_that_depend_on_the_batch(command: str, batch: list[str], home: Path, here: Here) -> None:
    (here.folder / "odd.onnx").write_bytes(rows_reversed("features").SerializeToString())
    folder_of_pieces(here.folder / "photos", count=3, names=("cat", "coffee"))
    words = {
        "rank": ["rank", "photos", "-m", "odd.onnx", *batch],
        "explain": ["explain", "photos", "-m", "odd.onnx"],
        "embed": ["embed", "photos", "--probe", "odd.onnx", "--head-only", "-o", "task.npz"],
    }
    here.call(*words[command], "-q").check(3, "odd.onnx", "its features", "other images in the batch")


def test_fault_13_honest_models_pass(with_made: Path) -> None:
    """The check runs only before the first caching; the second run needs no inference."""
    images = photo_set(5)
    assert leepfrog.rank(images, ["made"]).models[0].n_inferred == 15
    assert leepfrog.rank(images, ["made"]).models[0].n_inferred == 0


def test_fault_13_rounding_to_few_bits_is_no_inconsistency() -> None:
    """GPU kernels may round int8 models; float32 models and dynamic quantization get no such tolerance."""

    def stepping(batch: np.ndarray) -> list[np.ndarray]:
        return [batch.mean(axis=(1, 2, 3))[:, None] + np.array([0, 1.0]) + (0.01 if len(batch) > 1 else 0)]

    results = inconsistencies(stepping, made.images(4), ["features"])
    assert not any(item.repeated for item in results)
    assert 1e-3 < results[0].difference < FEW_BITS_TOLERANCE
    assert first_refused(results, lambda: {"QLinearConv"}) is None
    assert first_refused(results, lambda: {"Conv"})
    assert "statically" in (first_refused(results, lambda: {"Conv", "DynamicQuantizeLinear"}) or "")


def test_fault_47_operators_are_found_wherever_they_stand() -> None:
    model = made.endless()
    model.graph.node.append(node("BatchNormalization", ["a"] * 5, ["b"], training_mode=1))
    model.functions.append(
        helper.make_function("own", "F", ["x"], ["y"], [node("Bernoulli", ["x"], ["y"])], [helper.make_opsetid("", 17)])
    )
    names = operators(memoryview(model.SerializeToString()))
    assert {"Conv", "Loop", "Abs", "Bernoulli", "BatchNormalization in training mode"} <= names
    model.graph.initializer.append(numpy_helper.from_array(np.ones(2, np.float16), "half"))
    assert operators(memoryview(model.SerializeToString())) - names == {"16-bit weights"}


def test_fault_14_provider_options_are_part_of_the_key_and_the_receipt(
    with_made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ModelFile.read(with_made / "models" / "made.onnx")
    keys = {cache_key(model, kind) for kind in ("cpu", "cuda")}
    monkeypatch.setitem(devices.DEVICES.named("cuda").options, "use_tf32", "1")
    keys.add(cache_key(model, "cuda"))
    monkeypatch.setitem(devices.DEVICES.named("cpu").options, "use_arena", "0")
    keys.add(cache_key(model, "cpu"))
    assert len(keys) == 4
    receipt = leepfrog.rank(photo_set(3), ["made"]).receipt
    assert receipt.environment["provider_options"] == {"CPUExecutionProvider": {"use_arena": "0"}}


@pytest.fixture
def azure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """Register a device of the wheel's other provider, which runs none of these nodes."""
    provider = "AzureExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        pytest.skip(f"this onnxruntime has no {provider}")
    (tmp_path / "azure.py").write_text(
        f"from leepfrog.inference.devices.base import Device\nDEVICE = Device('azure', {provider!r})\n"
    )
    with monkeypatch.context() as patch:
        patch.setattr(devices, "__path__", [*devices.__path__, str(tmp_path)])
        devices.DEVICES.forget()
        yield "azure"
    devices.DEVICES.forget()
    sys.modules.pop("leepfrog.inference.devices.azure", None)


def test_fault_27_a_session_on_the_cpu_is_no_session_on_the_device(azure: str, with_made: Path) -> None:
    model = ModelFile.read(with_made / "models" / "made.onnx")
    with pytest.raises(
        MachineError, match=r"made\.onnx: 6 of 6 nodes run on the CPU instead of Azure.*Conv \(1\).*--device cpu"
    ):
        load_file(model.path, model.sha256, azure, 1)
    assert load_file(model.path, model.sha256, "cpu", 1).fallback == ""


def test_fault_52_a_few_nodes_on_the_cpu_are_noted(with_made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Node counts are invented, as no GPU is available; their processing is real."""
    nodes = {"CUDAExecutionProvider": Counter(Conv=50, Relu=48), "CPUExecutionProvider": Counter(Resize=2)}
    cuda = devices.DEVICES.named("cuda")
    note = fallback(nodes, cuda)
    assert note == "2 of 100 nodes run on the CPU instead of CUDAExecutionProvider: Resize (2)"
    assert fallback({"CUDAExecutionProvider": Counter(Conv=5)}, cuda) == ""
    assert fallback({}, cuda) == ""  # an onnxruntime that does not report assignments
    monkeypatch.setattr("leepfrog.inference.load.fallback", lambda *_: note)
    assert f"made: {note}" in leepfrog.rank(photo_set(3), ["made"]).notes


def test_fault_27_nodes_are_counted_as_onnxruntime_reports_them(tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    session = onnxruntime.InferenceSession(
        made.scoring().SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (counted,) = nodes_by_provider(session).values()
    assert counted["Conv"] == counted["Gemm"] == counted["Softmax"] == 1
    plain = onnxruntime.InferenceSession(made.scoring().SerializeToString(), providers=["CPUExecutionProvider"])
    assert nodes_by_provider(plain) == {}


def test_fault_36_another_graph_field_hides_no_weights() -> None:
    """Protobuf merges repeated graph fields, so weights of the first one remain in effect."""
    one, other = made.scoring(), made.scoring()
    weights = other.graph.initializer[0]
    weights.raw_data = numpy_helper.to_array(weights).__mul__(2).astype(np.float32).tobytes()
    empty_graph = b"\x3a\x00"
    first, second = (fingerprint(memoryview(model.SerializeToString() + empty_graph)) for model in (one, other))
    assert first.graph != second.graph
    assert first.weights != second.weights
    assert first == fingerprint(memoryview(one.SerializeToString()))


def test_fault_36_functions_are_part_of_the_network() -> None:
    """Nodes may call functions, so the graph alone does not define the computation."""

    def calling(operator: str) -> bytes:
        model = made.scoring()
        body = [node(operator, ["x"], ["y"])]
        model.functions.append(helper.make_function("own", "F", ["x"], ["y"], body, [helper.make_opsetid("", 17)]))
        return model.SerializeToString()

    assert fingerprint(memoryview(calling("Abs"))) != fingerprint(memoryview(calling("Neg")))


def test_fault_36_a_field_of_another_wire_type_is_no_graph(tmp_path: Path) -> None:
    path = tmp_path / "fixed.onnx"
    path.write_bytes(b"\x08\x08" + b"\x39" + b"\x00" * 8)  # the graph's field number, but as fixed 64-bit
    with pytest.raises(ModelError, match="not an ONNX model"):
        ModelFile.read(path)


def test_fault_13_nothing_is_kept_where_the_check_itself_fails(
    with_made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MachineError("onnxruntime is out of memory")

    photos = photo_set(2)
    with monkeypatch.context() as patch:
        patch.setattr(Session, "check_consistent", fail)
        with pytest.raises(MachineError, match="out of memory"):
            leepfrog.rank(photos, ["made"], context=RunContext(batch_size=1))
    assert leepfrog.rank(photos, ["made"]).models[0].n_inferred == len(photos)


def test_fault_06_a_model_that_asks_for_more_memory_than_there_is_is_named(home: Path, here: Here) -> None:
    greedy = [
        node("Shape", ["image"], ["sizes"]),
        node("Mul", ["sizes", "factors"], ["enormous"]),
        node("ConstantOfShape", ["enormous"], ["zeros"]),
        node("ReduceSum", ["zeros"], ["nothing"], keepdims=0),
        node("Add", ["before", "nothing"], ["features"]),
    ]
    proto = made.scoring_through("features", *greedy, factors=np.full(4, 1 << 10))
    (here.folder / "greedy.onnx").write_bytes(proto.SerializeToString())
    folder_of_pieces(here.folder / "photos", count=2)
    here.call("rank", "photos", "-m", "greedy.onnx", "-q").check(4, "greedy.onnx: onnxruntime is out of memory")
    here.call("bench", "greedy.onnx", "-q").check(4, "greedy.onnx: onnxruntime is out of memory")
