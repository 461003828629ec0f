"""Import of torch, torchvision and timm, with a one-line hint on what to install."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from leepfrog.errors import MachineError, one_line

HINT = "pip install 'leepfrog[export]' (in a checkout: pip install -c constraints.txt -e '.[export]')"

# Detection operators that torchvision declares in its compiled extension, which is missing if it was built for another
# torch. No classifier calls them, but torchvision cannot be imported unless they are declared.
_DETECTION_OPERATORS = ("nms", "qnms")
_declared: list[object] = []  # a torch Library withdraws its operators when it is garbage-collected


def package(name: str) -> ModuleType:
    """Import `torch`, `torchvision`, `timm` or a package that comes with them.

    Raises:
        MachineError: the package is not installed, or its import fails.
    """
    try:
        if name in ("torchvision", "timm"):  # timm imports torchvision
            _torchvision()
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MachineError(f"this source needs {error.name}, which is not installed: {HINT}") from None
    except (ImportError, RuntimeError, OSError) as error:
        reason = one_line(error)
        raise MachineError(f"{name} cannot be imported: {reason}; install matching versions: {HINT}") from None


def _torchvision() -> ModuleType:
    """Import torchvision, even if its compiled extension was built for a different torch."""
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
