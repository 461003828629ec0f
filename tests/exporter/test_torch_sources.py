"""timm: and torchvision: sources with seeded random weights, compared with torch; checkpoint loading."""

from __future__ import annotations

import os
import pickle
import re
import site
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from leepfrog.errors import BadInputError, UsageError
from leepfrog.inference.model import Session
from leepfrog_exporter.export import ExportOptions, export
from leepfrog_exporter.networks import checkpoint
from leepfrog_exporter.presets import PreprocessChoice
from leepfrog_exporter.sources import builder
from libraries import models, torch

pytestmark = pytest.mark.full


# Architectures with different building blocks: squeeze-and-excitation, class token, ConvNeXt blocks, fully
# convolutional head, channel shuffle.
NETWORKS = {
    "timm:mobilenetv3_small_050": lambda m: m.classifier,
    "timm:test_vit": lambda m: m.head,
    "timm:test_convnext": lambda m: m.head.fc,
    "torchvision:squeezenet1_1": lambda m: m.classifier[1],
    "torchvision:shufflenet_v2_x0_5": lambda m: m.fc,
}


@pytest.mark.parametrize(("source", "last"), NETWORKS.items(), ids=NETWORKS.keys())
def test_same_as_torch(source: str, last: Callable[[Any], Any], home: Path) -> None:
    # Smaller images for speed; the size of the transformer is fixed.
    library, _, name = source.partition(":")
    size = None if name == "test_vit" else (96, 96)
    file = export(source, ExportOptions(random_weights=True, preprocess=PreprocessChoice(input_size=size)))
    network = builder(library)(name, pretrained=False)
    seen = []
    last(network.module).register_forward_pre_hook(lambda _, taken: seen.append(taken[0]))
    shape = (3, 3, *file.metadata.preprocess.input_size)
    batch = np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)
    with torch.inference_mode():
        logits = network.module(torch.from_numpy(batch))
    features = seen[0].mean(dim=(2, 3)) if seen[0].ndim == 4 else seen[0]

    session = Session(file, "cpu", 1)
    probs, actual = session.run(batch)
    np.testing.assert_allclose(probs, torch.softmax(logits, dim=1), atol=1e-4)
    np.testing.assert_allclose(actual, features, atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose(np.concatenate([session.run(image[None])[0] for image in batch]), probs, atol=1e-5)

    metadata = file.metadata
    assert metadata.source == f"{source} (random weights)"
    assert metadata.name.endswith("-random")
    assert (metadata.labels, metadata.top1) == ((), None)
    assert metadata.n_parameters == sum(parameter.numel() for parameter in network.module.parameters())
    assert metadata.weights_sha256 == network.weights_sha256()
    assert metadata.parity["top1_agreement"] == 1
    onnx.checker.check_model(onnx.load(file.path), full_check=True)
    content = file.path.read_bytes()
    for private in (*site.getsitepackages(), str(home), str(Path.home()), os.getcwd(), "site-packages"):
        assert private.encode() not in content, private


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("timm:absent", "timm has no model 'absent'"),
        ("timm:resnet18.absent", r"timm has no weights 'resnet18\.absent'"),
        ("torchvision:absent", "torchvision has no classifier 'absent'"),
        ("torchvision:fasterrcnn_resnet50_fpn", "torchvision has no classifier"),
    ],
)
def test_unknown_names(source: str, message: str, home: Path) -> None:
    with pytest.raises(UsageError, match=message):
        export(source)
    assert not home.exists()


@pytest.mark.parametrize("source", ["timm:test_resnet.r160_in1k", "torchvision:squeezenet1_1"])
def test_without_a_network(source: str, tmp_path: Path) -> None:
    """Run in a subprocess, because hub clients read the environment on import."""
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    folders = {name: str(tmp_path / name) for name in ("LEEPFROG_HOME", "TORCH_HOME", "HF_HOME")}
    done = subprocess.run(
        [sys.executable, "-m", "leepfrog", "export", "--quiet", source],
        env={**os.environ, **nowhere, **folders, "no_proxy": "", "NO_PROXY": ""},
        capture_output=True,
        text=True,
        timeout=60,  # by default the hub's client retries for a minute
        check=False,
    )
    assert done.returncode == 4, done.stderr
    assert done.stdout == ""
    errors = [line for line in done.stderr.splitlines() if not line.startswith("Downloading:")]
    assert len(errors) == 1
    assert re.search(f"cannot get the weights of {re.escape(source)}: .*--random-weights", errors[0])
    assert not (tmp_path / "LEEPFROG_HOME").exists()


class Malicious:
    """Object that runs code when unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def refused(path: Path, keys: str = "") -> str:
    with pytest.raises(BadInputError) as caught:
        checkpoint.load_into(models.squeezenet1_1(weights=None), path, keys)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_checkpoint_is_not_run(zipped: bool, tmp_path: Path) -> None:
    path, mark = tmp_path / "weights.pth", tmp_path / "mark"
    if zipped:
        torch.save({"features.0.weight": Malicious(mark)}, path)
    else:
        path.write_bytes(pickle.dumps({"features.0.weight": Malicious(mark)}))
    assert "not a checkpoint of plain weights" in refused(path)
    assert not mark.exists()


@pytest.mark.parametrize("content", [b"", b"not weights", bytes(1000), b"PK\x03\x04" + bytes(100)])
def test_rubbish_checkpoints(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    assert "not a checkpoint of plain weights" in refused(path)


@pytest.mark.parametrize(
    "held", [lambda: torch.zeros(3), lambda: [torch.zeros(3)], lambda: 5, lambda: {0: torch.zeros(3)}]
)
def test_checkpoints_of_something_else(held: object, tmp_path: Path) -> None:
    torch.save(held(), tmp_path / "weights.pth")
    assert "expected a mapping from names to weights" in refused(tmp_path / "weights.pth")


def test_checkpoint_of_another_architecture(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(models.shufflenet_v2_x0_5(weights=None).state_dict(), path)
    assert "does not fit the architecture" in refused(path)
    assert "does not fit the architecture" in refused(path, "efficientnet-pytorch")
    state = models.squeezenet1_1(weights=None).state_dict()
    for left_out in ({**state, "more": torch.zeros(1)}, dict(list(state.items())[1:])):
        torch.save(left_out, path)
        assert "does not fit the architecture" in refused(path)
    torch.save({**state, "classifier.1.bias": 5}, path)
    assert "does not fit the architecture" in refused(path)
    torch.save({**state, "_blocks.99._bn0.weight": torch.zeros(1)}, path)  # no such block in the network
    assert "does not fit the architecture" in refused(path, "efficientnet-pytorch")


def test_checkpoint_that_fits(tmp_path: Path) -> None:
    given, other = models.squeezenet1_1(weights=None), models.squeezenet1_1(weights=None)
    torch.save(given.state_dict(), tmp_path / "weights.pth")
    checkpoint.load_into(other, tmp_path / "weights.pth")
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in given.state_dict().items())


@pytest.mark.parametrize(("name", "dynamo"), [("test_vit", True), ("test_convnext", True), ("test_resnet", False)])
def test_what_torch_itself_exports(name: str, dynamo: bool, home: Path, tmp_path: Path) -> None:
    """torch.onnx.export with an example of one image stores this batch size in the graph."""
    network = builder("timm")(name, pretrained=False)
    path = tmp_path / f"{name}.onnx"
    size = network.preprocess.input_size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network.module, (torch.zeros(1, 3, *size),), str(path), dynamo=dynamo, verbose=False)
    file = export(f"onnx:{path}", ExportOptions(preprocess=PreprocessChoice(preset="imagenet")))
    batch = np.random.default_rng(0).normal(0, 1, (3, 3, *size)).astype(np.float32)
    with torch.inference_mode():
        expected = torch.softmax(network.module(torch.from_numpy(batch)), dim=1)
    np.testing.assert_allclose(Session(file, "cpu", 1).run(batch)[0], expected, atol=1e-4)
    content = file.path.read_bytes()
    for private in (*site.getsitepackages(), str(tmp_path), "site-packages", ".py"):
        assert private.encode() not in content, private
