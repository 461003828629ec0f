"""Results of the commands `doctor`, `zoo list` and `zoo search`."""

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
class FoundNetwork:
    """A network of timm or torchvision with pre-trained weights.

    Attributes:
        source: what `leepfrog export` takes, LIBRARY:NAME.
        parameters: number of parameters, with the library's own classifier.
        input_size: height and width of its images, in pixels.
        top1: published ImageNet-1k top-1 accuracy in percent, if known; backbones without a classifier have none.
        license: license of the weights, "" if unknown.
    """

    source: str
    parameters: int
    input_size: int
    top1: float | None
    license: str


@dataclasses.dataclass(frozen=True)
class Catalog(Result):
    """Networks of timm and torchvision that a search found.

    Attributes:
        networks: the networks found, the most accurate first.
    """

    kind: ClassVar = "catalog"
    schema_version: ClassVar = 1

    networks: tuple[FoundNetwork, ...]


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
