"""Import torch, torchvision and timm, or say in one line what to install."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from leepfrog.errors import MachineError, one_line

HINT = "pip install 'leepfrog[export]' (in a checkout: pip install -c constraints.txt -e '.[export]')"

# Detection operators that a torchvision built for another torch declares in its missing extension. No classifier
# calls them, but torchvision refuses to import while their names are unknown.
_DETECTION_OPERATORS = ("nms", "qnms")
_declared: list[object] = []  # a torch Library withdraws its operators when it is garbage-collected


def package(name: str) -> ModuleType:
    """Import `torch`, `torchvision` or `timm`.

    Raises:
        MachineError: it is not installed, or does not import.
    """
    try:
        if name in ("torchvision", "timm"):  # timm imports torchvision
            _torchvision()
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MachineError(f"this source needs {error.name}, which is not installed: {HINT}") from None
    except (ImportError, RuntimeError, OSError) as error:
        reason = one_line(error)
        raise MachineError(f"{name} does not import: {reason}; the versions must fit together: {HINT}") from None


def _torchvision() -> ModuleType:
    """Import torchvision, also where its compiled extension was built for another torch than the one installed."""
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    for loaded in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[loaded]
    library = importlib.import_module("torch").library.Library("torchvision", "DEF")
    for operator in _DETECTION_OPERATORS:
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(library)
    return importlib.import_module("torchvision")
