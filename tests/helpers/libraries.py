"""torch, torchvision's models and timm, imported on first use: collecting the tests needs none of them."""

from __future__ import annotations

from typing import Any

from leepfrog_exporter.networks.packages import package


class _OnFirstUse:
    """A module, or a part of one."""

    def __init__(self, name: str, part: str = "") -> None:
        self._name, self._part = name, part

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_") and attribute != "__name__":  # pytest asks for such of all that a test file holds
            raise AttributeError(attribute)
        module = package(self._name)
        return getattr(getattr(module, self._part) if self._part else module, attribute)


torch: Any = _OnFirstUse("torch")
timm: Any = _OnFirstUse("timm")
models: Any = _OnFirstUse("torchvision", "models")
