"""Networks built by torchvision and timm, with what the library says about their weights."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import http.client
import importlib
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from leepfrog.arguments import nearest
from leepfrog.errors import MachineError, UsageError, one_line
from leepfrog.images.preprocess import PreprocessSpec

from leepfrog_exporter.sources.torch_packages import package

# How long to wait for a first answer of the model hub.
HUB_SECONDS = 10


@dataclasses.dataclass(frozen=True)
class Network:
    """A torch network in evaluation mode and what is known of it.

    Attributes:
        module: torch.nn.Module from images [N, 3, H, W] to logits [N, Z].
        name: the library's name for it, weights included.
        preprocess, labels, licence, top1: as in ModelMetadata.
        doubt: why its outputs may not be classes, where no labels and no usual number of classes say that they are.
    """

    module: Any
    name: str
    preprocess: PreprocessSpec
    labels: tuple[str, ...]
    licence: str
    top1: float | None
    doubt: str = ""

    def weights_sha256(self) -> str:
        """Hash over all weights in order: name, dtype, shape and bytes of each."""
        digest = hashlib.sha256()
        for key, tensor in self.module.state_dict().items():
            digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def n_parameters(module: Any) -> int:
    """Numbers in the weights of a torch network."""
    return sum(parameter.numel() for parameter in module.parameters())


def from_torchvision(name: str, *, pretrained: bool) -> Network:
    """`torchvision:NAME`: its default weights, or seeded random ones.

    Raises:
        UsageError: torchvision has no such classifier.
        MachineError: the weights cannot be downloaded.
    """
    models = package("torchvision").models
    if name not in models.list_models(module=models):
        raise UsageError(f"torchvision has no classifier {name!r}; {_near(name, models.list_models(module=models))}")
    weights = models.get_model_weights(name).DEFAULT
    module = _built(f"torchvision:{name}", lambda: models.get_model(name, weights=weights if pretrained else None))
    preset = weights.transforms()
    crop, resize = preset.crop_size[0], preset.resize_size[0]
    spec = PreprocessSpec(
        input_size=(crop, crop),
        resize_size=(resize, resize),
        interpolation=preset.interpolation.value,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
    )
    top1 = weights.meta.get("_metrics", {}).get("ImageNet-1K", {}).get("acc@1")
    labels = tuple(weights.meta["categories"])
    return Network(module, name, spec, labels, "BSD-3-Clause", top1 if pretrained else None)


def from_timm(name: str, *, pretrained: bool) -> Network:
    """`timm:NAME`, with or without a weights tag: its pre-trained weights, or seeded random ones.

    Raises:
        UsageError: timm has no such model, or it needs preprocessing that leepfrog does not do.
        MachineError: the weights cannot be downloaded.
    """
    timm = package("timm")
    if not timm.is_model(name):
        raise UsageError(f"timm has no model {name!r}; {_near(name, timm.list_models())}")
    known = timm.list_pretrained(f"{name.partition('.')[0]}.*")
    if "." in name and name not in known:
        raise UsageError(f"timm has no weights {name!r}; {_near(name, known)}")
    with _hub_asked_once() if pretrained else contextlib.nullcontext():
        module = _built(f"timm:{name}", lambda: timm.create_model(name, pretrained=pretrained))
    config = timm.data.resolve_model_data_config(module)
    pretrained_config = module.pretrained_cfg
    tag = pretrained_config.get("tag") or ""
    architecture = pretrained_config.get("architecture") or name
    return Network(
        module,
        f"{architecture}.{tag}" if tag else architecture,
        _timm_preprocess(name, config),
        imagenet_labels() if module.num_classes == 1000 else (),
        pretrained_config.get("license") or "",
        None,
        doubt="timm gives embeddings of image towers, such as CLIP's, as classes",
    )


def imagenet_labels() -> tuple[str, ...]:
    """The 1,000 class names of ImageNet-1k in the usual order, as torchvision has them."""
    weights = package("torchvision").models.get_model_weights("mobilenet_v2").DEFAULT
    return tuple(weights.meta["categories"])


LIBRARIES: dict[str, Callable[..., Network]] = {
    "timm": from_timm,
    "torchvision": from_torchvision,
}


def _near(name: str, known: Iterable[str]) -> str:
    """What to say of a name that a library does not know; it may know a thousand."""
    near = nearest(name, known)
    return f"did you mean {near}?" if near else "its documentation lists them"


@contextlib.contextmanager
def seeded() -> Iterator[None]:
    """Within the block, networks that torch builds have the same random weights each time; the caller's seed stays."""
    torch = package("torch")
    with torch.random.fork_rng(devices=[]):  # networks are built on the CPU
        torch.default_generator.manual_seed(0)
        yield


def _built(source: str, build: Callable[[], Any]) -> Any:
    try:
        # torch.hub says on stdout what it downloads; stdout is for data.
        with seeded(), contextlib.redirect_stdout(sys.stderr):
            return build().eval()
    except (OSError, RuntimeError, ValueError) as error:  # what the two hubs' clients raise without a network
        reason = one_line(error)
        raise MachineError(
            f"cannot get the weights of {source}: {reason} (a hub is needed; leepfrog zoo list marks models that come "
            "from packages instead, --random-weights tries the export without any)"
        ) from None


@contextlib.contextmanager
def _hub_asked_once() -> Iterator[None]:
    """Where timm's hub does not answer, let its client look in its cache alone; it would retry for a minute, aloud."""
    constants: Any = importlib.import_module("huggingface_hub.constants")  # timm requires it
    before = constants.HF_HUB_OFFLINE
    if not before:
        try:
            address = urllib.request.Request(constants.ENDPOINT, method="HEAD")  # noqa: S310
            urllib.request.urlopen(address, timeout=HUB_SECONDS).close()  # noqa: S310
        except urllib.error.HTTPError:  # an answer
            pass
        except (OSError, ValueError, http.client.HTTPException):
            constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _timm_preprocess(name: str, config: dict[str, Any]) -> PreprocessSpec:
    channels, height, width = config["input_size"]
    if channels != 3:
        raise UsageError(f"timm:{name} takes {channels} channels; leepfrog feeds colour images")
    if config["crop_mode"] not in ("center", "squash"):
        raise UsageError(f"timm:{name} wants crop mode {config['crop_mode']!r}; leepfrog does center and squash")
    scale = config["crop_pct"]
    return PreprocessSpec(
        input_size=(height, width),
        resize_size=(int(height / scale), int(width / scale)),
        resize_mode="stretch" if config["crop_mode"] == "squash" else "cover",
        interpolation=config["interpolation"],
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )
