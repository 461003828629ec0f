"""torch, torchvision.models and timm, imported on first use so that collecting tests does not import them."""

from __future__ import annotations

from typing import Any

from leepfrog_exporter.networks.packages import package


class _OnFirstUse:
    """Lazily imported module or submodule."""

    def __init__(self, name: str, part: str = "") -> None:
        self._name, self._part = name, part

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_") and attribute != "__name__":  # pytest probes all objects of a test module
            raise AttributeError(attribute)
        module = package(self._name)
        return getattr(getattr(module, self._part) if self._part else module, attribute)


torch: Any = _OnFirstUse("torch")
timm: Any = _OnFirstUse("timm")
models: Any = _OnFirstUse("torchvision", "models")
