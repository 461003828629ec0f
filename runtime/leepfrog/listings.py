"""Results of the commands `doctor` and `zoo list`."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from leepfrog.results import Result


@dataclasses.dataclass(frozen=True)
class ListedModel:
    """A model of the zoo, or one that the user exported.

    Attributes:
        model: name of the model.
        exported: whether the model is in the models folder.
        weights_from: source of the weights: a package of the Python index, a model hub, or the user.
        architecture: architecture of the network; empty if unknown.
        top1: published ImageNet top-1 accuracy in percent, if known.
        license: license of the weights; empty if unknown.
    """

    model: str
    exported: bool
    weights_from: str
    architecture: str
    top1: float | None
    license: str


@dataclasses.dataclass(frozen=True)
class ZooListing(Result):
    """Models of the zoo and exported models.

    Attributes:
        models: all listed models, those of the zoo first.
    """

    kind: ClassVar = "zoo"
    schema_version: ClassVar = 1

    models: tuple[ListedModel, ...]


@dataclasses.dataclass(frozen=True)
class Diagnosis(Result):
    """Capabilities and problems of this machine.

    Attributes:
        facts: facts about the machine, by name.
        problems: problems found, each with its fix.
    """

    kind: ClassVar = "doctor"
    schema_version: ClassVar = 1

    facts: dict[str, str]
    problems: tuple[str, ...]
