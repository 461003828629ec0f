"""The device registry, and OpenVINO if its onnxruntime is installed."""

from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import leepfrog
import numpy as np
import onnxruntime
import pytest
from leepfrog.errors import MachineError, UsageError
from leepfrog.execution.context import RunContext
from leepfrog.execution.pipeline import Lanes
from leepfrog.inference import devices
from leepfrog.inference.devices import DEVICES
from leepfrog.inference.devices.base import Device
from leepfrog.inference.devices.cuda import gpus
from packages import other_package
from photos import photo_set


@pytest.fixture
def point() -> Iterator[types.ModuleType]:
    """A third-party package, `their`, whose `NPU` is the entry point of a device called npu."""
    with other_package(DEVICES, devices.GROUP, "npu", "NPU") as their:
        yield their


def test_each_module_is_a_device_of_its_name() -> None:
    assert DEVICES.names()[0] == "cpu"
    assert {"cpu", "cuda", "openvino"} <= set(DEVICES.names())
    for name in DEVICES.names():
        device = DEVICES.named(name)
        assert device.name == name
        assert device.provider.endswith("ExecutionProvider")
        assert device.install or name == "cpu"
    with pytest.raises(UsageError, match="device 'gpu' is unknown; one of cpu, "):
        DEVICES.named("gpu")


def test_names_need_no_onnxruntime() -> None:
    code = (
        "import sys; from leepfrog.inference.devices import DEVICES; DEVICES.names()\n"
        "assert not {'onnxruntime', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_another_package_s_device(point: types.ModuleType) -> None:
    point.NPU = Device("npu", "CPUExecutionProvider", images_forward=2)
    assert "npu" in DEVICES.names()
    assert DEVICES.named("npu") is point.NPU
    assert Lanes.plan("npu", 3) == Lanes(count=1, threads=3, batch_size=2)


@pytest.mark.parametrize("what", [None, "a text", Device("other", "CPUExecutionProvider")])
def test_another_package_s_broken_device(what: object, point: types.ModuleType) -> None:
    point.NPU = what
    with pytest.raises(MachineError, match="device npu: their:NPU is not a leepfrog Device with this name"):
        DEVICES.named("npu")


def test_another_package_that_cannot_be_imported(point: types.ModuleType) -> None:
    with pytest.raises(MachineError, match=r"device npu: their:NPU cannot be imported: .*NPU"):
        DEVICES.named("npu")


def test_the_cpu_runs_what_a_provider_cannot() -> None:
    device = Device("npu", "ExampleExecutionProvider", {"precision": "FP32"}, threads_option="n")
    provider, cpu = device.providers_with(3)
    assert provider == ("ExampleExecutionProvider", {"precision": "FP32", "n": "3"})
    assert cpu == ("CPUExecutionProvider", {})
    assert device.providers[0][1] == {"precision": "FP32"}  # the number of threads does not affect outputs
    assert DEVICES.named("cpu").providers_with(3) == [("CPUExecutionProvider", {})]


def test_gpus_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert gpus(tmp_path) == ["1"]
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "information").write_text("Model: \t\t Example GPU\nIRQ: 1\n")
    (tmp_path / "1" / "information").mkdir(parents=True)
    assert gpus(tmp_path) == ["Example GPU", "1"]


def test_a_provider_that_is_not_there_says_how_to_get_it(with_made: Path) -> None:
    if "OpenVINOExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("OpenVINO is available")
    with pytest.raises(MachineError, match=r"has no OpenVINOExecutionProvider .*pip install onnxruntime-openvino"):
        leepfrog.rank(photo_set(3), ["made"], context=RunContext(device="openvino"))


@pytest.mark.skipif(
    "OpenVINOExecutionProvider" not in onnxruntime.get_available_providers(),
    reason="requires onnxruntime-openvino instead of onnxruntime",
)
def test_openvino_agrees_with_the_cpu(with_made: Path) -> None:
    ours, theirs = (
        leepfrog.rank(photo_set(4), ["made"], context=RunContext(device=name)) for name in ("cpu", "openvino")
    )
    for name, score in ours.models[0].scores.items():
        assert np.isclose(theirs.models[0].scores[name].value, score.value, rtol=1e-4, atol=1e-5), name
    assert theirs.receipt.environment["provider"] == "OpenVINOExecutionProvider"
