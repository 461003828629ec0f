"""Safe loading of checkpoints: no code in them is run, and keys are renamed to match the architecture."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from leepfrog.errors import BadInputError, one_line
from leepfrog.files import open_regular

from leepfrog_exporter.networks.packages import package

State = Mapping[str, Any]


def load_into(module: Any, path: Path, keys: str = "") -> None:
    """Load a checkpoint into a network; its weights must match the network's exactly.

    Args:
        module: a torch.nn.Module.
        path: a `.pth` file; read with weights_only=True.
        keys: naming scheme of the checkpoint's keys, a key of RENAMINGS; "" if they match the network's.

    Raises:
        BadInputError: the file is not a plain checkpoint, or does not fit the architecture.
    """
    torch = package("torch")
    try:
        with open_regular(path) as stream:
            state = torch.load(stream, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises UnpicklingError, RuntimeError, EOFError and others on invalid files
        reason = one_line(error)
        raise BadInputError(f"{path}: is not a checkpoint of plain weights: {reason}") from None
    if not isinstance(state, Mapping) or not all(isinstance(key, str) for key in state):
        raise BadInputError(f"{path}: contains a {type(state).__name__}; expected a mapping from names to weights")
    try:
        if keys:
            state = RENAMINGS[keys](state, module.state_dict())
        module.load_state_dict(state, strict=True)
    except (RuntimeError, LookupError) as error:  # LookupError: a block that the network does not have
        reason = one_line(error)
        raise BadInputError(f"{path}: does not fit the architecture: {reason}") from None


def _from_efficientnet_pytorch(state: State, timm_state: State) -> dict[str, Any]:
    """Rename the keys of the efficientnet-pytorch package to timm's.

    It numbers blocks consecutively, timm numbers them by stage. Within a block, convolutions and batch-norms have the
    same order in both, but different names.
    """
    outside = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    blocks = sorted(
        {tuple(map(int, m.groups())) for key in timm_state if (m := re.match(r"blocks\.(\d+)\.(\d+)\.", key))}
    )
    expanding = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"}
    expanding |= {"_project_conv": "conv_pwl", "_bn2": "bn3"}
    plain = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}

    def renamed(key: str) -> str:
        if match := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key):
            number, layer, leaf = match.groups()
            names = expanding if f"_blocks.{number}._expand_conv.weight" in state else plain
            stage, index = blocks[int(number)]
            return f"blocks.{stage}.{index}.{names.get(layer, layer)}.{leaf}"
        layer, _, leaf = key.partition(".")
        return f"{outside.get(layer, layer)}.{leaf}"

    return {renamed(key): value for key, value in state.items()}


RENAMINGS: dict[str, Callable[[State, State], dict[str, Any]]] = {"efficientnet-pytorch": _from_efficientnet_pytorch}
