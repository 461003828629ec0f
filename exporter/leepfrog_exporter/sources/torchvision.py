"""`torchvision:NAME`: a torchvision classifier."""

from __future__ import annotations

from leepfrog.errors import UsageError
from leepfrog.images.preprocess import PreprocessSpec
from leepfrog.progress import Progress

from leepfrog_exporter.draft import Draft, ExportOptions
from leepfrog_exporter.networks.network import Network, built, near
from leepfrog_exporter.networks.packages import package
from leepfrog_exporter.networks.traced import built_and_traced

TAKES = "NAME"


def draft(rest: str, options: ExportOptions, progress: Progress) -> Draft:
    """Return the draft of a torchvision network."""
    return built_and_traced(build, "torchvision", rest, options, progress)


def build(name: str, *, pretrained: bool) -> Network:
    """Build a torchvision classifier, with its default weights or seeded random ones.

    Raises:
        UsageError: torchvision has no such classifier.
        MachineError: the weights cannot be downloaded.
    """
    models = package("torchvision").models
    if name not in models.list_models(module=models):
        raise UsageError(f"torchvision has no classifier {name!r}; {near(name, models.list_models(module=models))}")
    weights = models.get_model_weights(name).DEFAULT
    module = built(f"torchvision:{name}", lambda: models.get_model(name, weights=weights if pretrained else None))
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
