"""`timm:NAME`: a timm network, with or without a weights tag, or one of the hub, `timm:hf-hub:ORG/NAME`."""

from __future__ import annotations

import contextlib
from typing import Any

from leepfrog.errors import UsageError
from leepfrog.images.preprocess import PreprocessSpec
from leepfrog.progress import Progress

from leepfrog_exporter.draft import Draft, ExportOptions
from leepfrog_exporter.hub import asked_once
from leepfrog_exporter.networks.network import Network, built, imagenet_labels, near
from leepfrog_exporter.networks.packages import package
from leepfrog_exporter.networks.traced import built_and_traced

TAKES = "NAME"

# Names of networks whose configuration is in a repository of the hub: hf-hub:ORG/NAME.
_OF_HUB = ("hf-hub:", "hf_hub:")


def draft(rest: str, options: ExportOptions, progress: Progress) -> Draft:
    """Return the draft of a timm network."""
    return built_and_traced(build, "timm", rest, options, progress)


def build(name: str, *, pretrained: bool) -> Network:
    """Build a timm network, with pre-trained or seeded random weights.

    Raises:
        UsageError: timm has no such model, or the model needs unsupported preprocessing.
        MachineError: the weights cannot be downloaded.
    """
    timm = package("timm")
    on_hub = name.startswith(_OF_HUB)
    if not on_hub:
        _check_known(timm, name)
    with asked_once() if pretrained or on_hub else contextlib.nullcontext():
        module = built(f"timm:{name}", lambda: timm.create_model(name, pretrained=pretrained))
    config = timm.data.resolve_model_data_config(module)
    pretrained_config = module.pretrained_cfg
    tag = pretrained_config.get("tag") or ""
    architecture = pretrained_config.get("architecture") or name
    return Network(
        module,
        f"{architecture}.{tag}" if tag else architecture,
        _preprocess(name, config),
        _labels(module),
        pretrained_config.get("license") or "",
        None,
        doubt="timm presents embeddings of image towers, such as CLIP's, as classes",
        not_classes="" if module.num_classes else "timm builds it without a classifier",
    )


def _labels(module: Any) -> tuple[str, ...]:
    names = module.pretrained_cfg.get("label_names") or ()
    if len(names) == module.num_classes:
        return tuple(map(str, names))
    return imagenet_labels() if module.num_classes == 1000 else ()


def _check_known(timm: Any, name: str) -> None:
    """Raise UsageError if timm has no network, or no weights, of this name."""
    if not timm.is_model(name):
        raise UsageError(f"timm has no model {name!r}; {near(name, timm.list_models())}")
    known = timm.list_pretrained(f"{name.partition('.')[0]}.*")
    if "." in name and name not in known:
        raise UsageError(f"timm has no weights {name!r}; {near(name, known)}")


def _preprocess(name: str, config: dict[str, Any]) -> PreprocessSpec:
    channels, height, width = config["input_size"]
    if channels != 3:
        raise UsageError(f"timm:{name} takes {channels} channels; only 3-channel input is supported")
    if config["crop_mode"] not in ("center", "squash"):
        raise UsageError(f"timm:{name} uses crop mode {config['crop_mode']!r}; only center and squash are supported")
    scale = config["crop_pct"]
    return PreprocessSpec(
        input_size=(height, width),
        resize_size=(int(height / scale), int(width / scale)),
        resize_mode="stretch" if config["crop_mode"] == "squash" else "cover",
        interpolation=config["interpolation"],
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )
