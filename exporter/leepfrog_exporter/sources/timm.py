"""`timm:NAME`: a timm classifier, with or without a weights tag."""

from __future__ import annotations

import contextlib
import http.client
import importlib
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from leepfrog.errors import UsageError
from leepfrog.images.preprocess import PreprocessSpec
from leepfrog.progress import Progress

from leepfrog_exporter.draft import Draft, ExportOptions
from leepfrog_exporter.networks.network import Network, built, imagenet_labels, near
from leepfrog_exporter.networks.packages import package
from leepfrog_exporter.networks.traced import built_and_traced

TAKES = "NAME"

# Timeout for the first response of the model hub.
HUB_SECONDS = 10


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
    if not timm.is_model(name):
        raise UsageError(f"timm has no model {name!r}; {near(name, timm.list_models())}")
    known = timm.list_pretrained(f"{name.partition('.')[0]}.*")
    if "." in name and name not in known:
        raise UsageError(f"timm has no weights {name!r}; {near(name, known)}")
    with _hub_asked_once() if pretrained else contextlib.nullcontext():
        module = built(f"timm:{name}", lambda: timm.create_model(name, pretrained=pretrained))
    config = timm.data.resolve_model_data_config(module)
    pretrained_config = module.pretrained_cfg
    tag = pretrained_config.get("tag") or ""
    architecture = pretrained_config.get("architecture") or name
    return Network(
        module,
        f"{architecture}.{tag}" if tag else architecture,
        _preprocess(name, config),
        imagenet_labels() if module.num_classes == 1000 else (),
        pretrained_config.get("license") or "",
        None,
        doubt="timm presents embeddings of image towers, such as CLIP's, as classes",
        not_classes="" if module.num_classes else "timm builds it without a classifier",
    )


@contextlib.contextmanager
def _hub_asked_once() -> Iterator[None]:
    """Restrict the hub client to its cache if the hub is unreachable; it would retry noisily for a minute."""
    constants: Any = importlib.import_module("huggingface_hub.constants")  # timm requires it
    before = constants.HF_HUB_OFFLINE
    if not before:
        try:
            address = urllib.request.Request(constants.ENDPOINT, method="HEAD")  # noqa: S310
            urllib.request.urlopen(address, timeout=HUB_SECONDS).close()  # noqa: S310
        except urllib.error.HTTPError:  # the hub responded
            pass
        except (OSError, ValueError, http.client.HTTPException):
            constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


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
