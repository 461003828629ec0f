"""The catalog, `models/catalog.csv`: networks of timm and torchvision with pre-trained weights.

It is read without these libraries, and written by `leepfrog_exporter.make_catalog`.
"""

from __future__ import annotations

import csv
import fnmatch
from pathlib import Path

from leepfrog.arguments import nearest
from leepfrog.errors import MachineError, UsageError
from leepfrog.listings import FoundNetwork

FIELDS = ("source", "parameters", "input_size", "top1", "license")


def load(path: Path | None = None) -> list[FoundNetwork]:
    """Return all networks, sorted by source.

    Raises:
        MachineError: the catalog is missing or invalid, so the installation is broken.
    """
    path = path or catalog_path()
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            return [
                FoundNetwork(
                    row["source"], int(row["parameters"]), int(row["input_size"]),
                    float(row["top1"]) if row["top1"] else None, row["license"],
                )
                for row in csv.DictReader(stream)
            ]  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MachineError(f"{path}: the catalog of networks cannot be read: {error}") from error


def search(
    pattern: str, max_parameters: float | None = None, min_top1: float | None = None, max_input_size: int | None = None
) -> list[FoundNetwork]:
    """Return the networks whose name matches a pattern, the most accurate first.

    Args:
        pattern: part of a name, or a wildcard pattern for the whole name, such as "mobilenet*"; the library may be in
            front of it.
        max_parameters: maximum number of parameters.
        min_top1: minimum published accuracy in percent; networks without one are left out.
        max_input_size: maximum input size in pixels.

    Raises:
        UsageError: no name matches the pattern.

    >>> [network.source for network in search("mobilenetv2_0*", max_parameters=3e6)][:1]
    ['timm:mobilenetv2_050.lamb_in1k']
    """
    networks = load()
    matching = [network for network in networks if _matches(network.source, pattern)]
    if not matching:
        names = {network.source.partition(":")[2].partition(".")[0] for network in networks}
        near = nearest(pattern, names)
        hint = f"did you mean {near}?" if near else "try a wildcard, such as '*vit*small*'"
        raise UsageError(f"no network of timm or torchvision matches {pattern!r}; {hint}")
    found = [
        network
        for network in matching
        if (max_parameters is None or network.parameters <= max_parameters)
        and (min_top1 is None or (network.top1 is not None and network.top1 >= min_top1))
        and (max_input_size is None or network.input_size <= max_input_size)
    ]
    return sorted(found, key=lambda network: (-(network.top1 or 0), network.parameters, network.source))


def _matches(source: str, pattern: str) -> bool:
    name = source.partition(":")[2]
    if any(sign in pattern for sign in "*?["):
        return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(source, pattern)
    return pattern in source


def catalog_path() -> Path:
    """Return the path of the catalog: inside the package if installed from a wheel, in `models/` in a checkout."""
    packaged = Path(__file__).with_name("catalog.csv")
    return packaged if packaged.is_file() else Path(__file__).parents[2] / "models" / "catalog.csv"
