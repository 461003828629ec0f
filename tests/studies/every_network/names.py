"""The networks of the sweep: the smallest of each timm module, and all of torchvision's classifiers."""

from __future__ import annotations

from leepfrog_exporter.networks.network import n_parameters
from leepfrog_exporter.networks.packages import package


def sources() -> list[str]:
    """Return the sources, `timm:NAME` and `torchvision:NAME`, sorted."""
    models = package("torchvision").models
    return [
        *sorted(f"timm:{smallest(module)}" for module in package("timm").list_modules()),
        *sorted(f"torchvision:{name}" for name in models.list_models(module=models)),
    ]


def smallest(module: str) -> str:
    """Return the name of a timm module's network with the fewest parameters, other than those made for timm's tests."""
    timm, torch = package("timm"), package("torch")
    names = timm.list_models(module=module)
    sizes = {}
    for name in [name for name in names if not name.startswith("test_")] or names:
        with torch.device("meta"):  # without allocating weights
            sizes[name] = n_parameters(timm.create_model(name))
    return min(sizes, key=lambda name: (sizes[name], name))
