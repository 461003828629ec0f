"""Results that only commands have: what doctor and zoo list."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from leepfrog.results import Result


@dataclasses.dataclass(frozen=True)
class ListedModel:
    """A model of the zoo, or an exported one of the user's.

    Attributes:
        model: its name.
        exported: whether it is in the models folder.
        weights_from: a package of the Python index, a model hub, or the user.
        architecture: of the network, "" if that is not known.
        top1: published ImageNet top-1 in percent, if known.
        license: of the weights, "" if that is not known.
    """

    model: str
    exported: bool
    weights_from: str
    architecture: str
    top1: float | None
    license: str


@dataclasses.dataclass(frozen=True)
class ZooListing(Result):
    """The models that can be had, and those that are there.

    Attributes:
        models: those of the zoo first.
    """

    kind: ClassVar = "zoo"
    schema_version: ClassVar = 1

    models: tuple[ListedModel, ...]


@dataclasses.dataclass(frozen=True)
class Diagnosis(Result):
    """What this machine has.

    Attributes:
        facts: by name.
        problems: what is wrong, each with what mends it.
    """

    kind: ClassVar = "doctor"
    schema_version: ClassVar = 1

    facts: dict[str, str]
    problems: tuple[str, ...]
