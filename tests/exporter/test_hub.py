"""Models of the Hugging Face hub, from a server on the loopback address: `hf:`, `timm:` and `timm:hf-hub:`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import leepfrog
import models_made as made
import numpy as np
import onnx
import pytest
from commands import Done, process
from hub import Hub, serving
from leepfrog.inference.model import ModelFile, Session
from photos import folder_of_pieces, photo_set

pytestmark = pytest.mark.full

VIT = {
    "do_normalize": True,
    "do_resize": True,
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.5, 0.5, 0.5],
    "resample": 3,
    "size": {"height": made.SIDE, "width": made.SIDE},
}
LABELS = {str(i): name for i, name in enumerate(("cat", "china", "rocket", "coffee", "dog"))}


@pytest.fixture
def hub(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Hub, Path]]:
    """A hub, and the folder with its repositories."""
    folder = tmp_path / "hub"
    folder.mkdir()
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with serving(folder) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        yield running, folder


def community(folder: Path, name: str = "ORG/tiny-vit", **config: object) -> Path:
    """Write a repository as onnx-community does; return its folder."""
    repository = folder / name
    (repository / "onnx").mkdir(parents=True)
    network = made.classifier(
        shape=("batch_size", "num_channels", "height", "width"), names=("pixel_values", "deep", "logits")
    )
    network.save(repository / "onnx" / "model.onnx")
    about = {"model_type": "vit", "architectures": ["ViTForImageClassification"], "id2label": LABELS} | config
    (repository / "config.json").write_text(json.dumps(about))
    (repository / "preprocessor_config.json").write_text(json.dumps(VIT))
    (repository / "README.md").write_text("---\nlibrary_name: transformers.js\nlicense: apache-2.0\n---\n# A model\n")
    return repository


def export(*words: str | Path) -> Done:
    """Run `leepfrog export` in a process of its own, since the hub's client reads its settings at import."""
    return process(["export", *words], start=[sys.executable, "-m", "leepfrog"])


def test_a_repository_of_onnx_community(hub: tuple[Hub, Path], home: Path) -> None:
    running, folder = hub
    community(folder)
    export("hf:ORG/tiny-vit").check(0, "tiny-vit.onnx", "5 classes, 6 features")
    file = ModelFile.read(home / "models" / "tiny-vit.onnx")
    metadata = file.metadata
    assert metadata.source == "hf:ORG/tiny-vit/onnx/model.onnx"
    assert metadata.labels == tuple(LABELS.values())
    assert metadata.license == "apache-2.0"
    spec = metadata.preprocess
    assert (spec.input_size, spec.resize_mode, spec.interpolation) == ((8, 8), "stretch", "bicubic")
    assert spec.mean == (0.5, 0.4, 0.3)
    probs, features = Session(file, "cpu", 1).run(made.images(3))
    expected = made.classifier().expected(made.images(3))
    np.testing.assert_allclose(probs, expected[0], atol=1e-5)
    np.testing.assert_allclose(features, expected[1], atol=1e-5)
    assert len(leepfrog.rank(photo_set(4), ["tiny-vit"])) == 1
    # The second time, the file is in the hub's cache.
    n_before = running.asked.count("GET /ORG/tiny-vit/resolve/main/onnx/model.onnx")
    export("hf:ORG/tiny-vit/onnx/model.onnx", "--force").check(0)
    assert n_before == running.asked.count("GET /ORG/tiny-vit/resolve/main/onnx/model.onnx")


def test_external_data_comes_along(hub: tuple[Hub, Path], home: Path) -> None:
    _, folder = hub
    repository = community(folder)
    path = repository / "onnx" / "model_fp32.onnx"
    model = onnx.load(repository / "onnx" / "model.onnx")
    onnx.save(model, path, save_as_external_data=True, location="model_fp32.onnx_data", size_threshold=0)
    assert (repository / "onnx" / "model_fp32.onnx_data").stat().st_size > 100
    export("hf:ORG/tiny-vit/onnx/model_fp32.onnx").check(0, "tiny-vit-fp32.onnx")
    (repository / "onnx" / "model_fp32.onnx_data").unlink()
    export("hf:ORG/tiny-vit/onnx/model_fp32.onnx").check(3, "'model_fp32.onnx_data' is missing")


def test_what_is_not_there(hub: tuple[Hub, Path], home: Path) -> None:
    running, folder = hub
    community(folder)
    export("hf:ORG/tiny-vit/onnx/modle.onnx").check(2, "has no onnx/modle.onnx; did you mean onnx/model.onnx?")
    export("hf:ORG/tiny-vot").check(2, "the hub has no repository 'ORG/tiny-vot', or it is private (set HF_TOKEN)")
    export("hf:tiny-vit").check(2, "names no repository; expected hf:ORG/NAME[/FILE.onnx]")
    export("hf:ORG/tiny-vit/weights.bin").check(2, "'weights.bin' is not an ONNX file")
    (folder / "ORG" / "torch-only").mkdir()
    (folder / "ORG" / "torch-only" / "model.safetensors").write_bytes(b"weights")
    export("hf:ORG/torch-only").check(2, "has no onnx/model.onnx or model.onnx; it has no ONNX files")
    running.gated.add("ORG/tiny-vit")
    export("hf:ORG/tiny-vit").check(4, "is gated: accept its terms on the hub, then set HF_TOKEN")
    assert not home.exists()


def test_a_hub_that_cannot_be_reached(hub: tuple[Hub, Path], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    export("hf:ORG/tiny-vit").check(
        4, "hf:ORG/tiny-vit: the hub cannot be reached, and onnx/model.onnx is not in its cache"
    )


def test_external_data_outside_of_the_repository(hub: tuple[Hub, Path], home: Path) -> None:
    _, folder = hub
    path = community(folder) / "onnx" / "model.onnx"
    path.write_bytes(made.external(made.classifier(), "../../../secret").SerializeToString())
    export("hf:ORG/tiny-vit").check(3, "hf:ORG/tiny-vit", "'../../../secret' is outside of its folder")


def test_timm_takes_weights_and_configurations_from_it(hub: tuple[Hub, Path], home: Path, tmp_path: Path) -> None:
    """A network of a repository, and one of timm's names with the weights that timm keeps on the hub."""
    code = """
import sys, json, pathlib
from leepfrog_exporter.networks.packages import package
timm, torch = package("timm"), package("torch")
torch.manual_seed(0)
net = timm.create_model("test_mambaout", num_classes=7)
folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True)
package("safetensors.torch").save_model(net, str(folder / "model.safetensors"))
config = dict(net.pretrained_cfg, num_classes=7, label_names=list("abcdefg"))
about = {"architecture": "test_mambaout", "num_classes": 7, "num_features": net.num_features, "pretrained_cfg": {
    key: config[key] for key in ("input_size", "interpolation", "crop_pct", "crop_mode", "mean", "std", "num_classes",
    "pool_size", "first_conv", "classifier", "fixed_input_size") if key in config}, "label_names": list("abcdefg")}
(folder / "config.json").write_text(json.dumps(about))
"""
    _, folder = hub
    subprocess.run([sys.executable, "-c", code, str(folder / "ORG" / "seven")], check=True, capture_output=True)
    export("timm:hf-hub:ORG/seven").check(0, "7 classes")
    export("timm:hf-hub:ORG/six").check(4, "timm:hf-hub:ORG/six")
    photos = folder_of_pieces(tmp_path / "photos", 3)
    (model,) = leepfrog.rank(photos).models
    assert model.n_source == 7
