"""Rank pre-trained vision models for your images and your device, without training.

>>> import leepfrog
>>> leepfrog.scores.knn([[0.0], [0.1], [1.0], [1.1]], ["cat", "cat", "dog", "dog"]).value
1.0

Public names are imported on first use, so `import leepfrog` is nearly free. Nothing here imports torch.
"""

from __future__ import annotations

import importlib

# For type checkers and editors; `X as X` marks a re-export. TYPE_CHECKING is not imported from typing, because
# `python -m leepfrog` would first look for that module in the current folder.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    __version__: str

    from leepfrog import errors as errors
    from leepfrog import scores as scores
    from leepfrog.costs.cost import Cost as Cost
    from leepfrog.errors import ArrayError as ArrayError
    from leepfrog.errors import BadInputError as BadInputError
    from leepfrog.errors import DataSetError as DataSetError
    from leepfrog.errors import EmbeddingError as EmbeddingError
    from leepfrog.errors import ImageError as ImageError
    from leepfrog.errors import LeepfrogError as LeepfrogError
    from leepfrog.errors import MachineError as MachineError
    from leepfrog.errors import ModelError as ModelError
    from leepfrog.errors import UsageError as UsageError
    from leepfrog.errors import WriteError as WriteError
    from leepfrog.execution.context import RunContext as RunContext
    from leepfrog.execution.pipeline import Unreadable as Unreadable
    from leepfrog.execution.runner import LocalRunner as LocalRunner
    from leepfrog.execution.runner import Runner as Runner
    from leepfrog.execution.unit import Block as Block
    from leepfrog.execution.unit import Unit as Unit
    from leepfrog.execution.unit import UnitModel as UnitModel
    from leepfrog.gate.check import Check as Check
    from leepfrog.gate.check import Finding as Finding
    from leepfrog.gate.check import check as check
    from leepfrog.images.dataset import ImageSet as ImageSet
    from leepfrog.images.dataset import LabelledImage as LabelledImage
    from leepfrog.images.decode import Decoded as Decoded
    from leepfrog.images.decode import Greys as Greys
    from leepfrog.images.find import find_images as find_images
    from leepfrog.images.preprocess import PreprocessSpec as PreprocessSpec
    from leepfrog.inference.header import Fingerprint as Fingerprint
    from leepfrog.inference.header import Header as Header
    from leepfrog.inference.metadata import ModelMetadata as ModelMetadata
    from leepfrog.inference.metadata import Variant as Variant
    from leepfrog.inference.model import ModelFile as ModelFile
    from leepfrog.progress import Progress as Progress
    from leepfrog.ranking.budget import Budget as Budget
    from leepfrog.ranking.certainty import Separation as Separation
    from leepfrog.ranking.explain import Carrier as Carrier
    from leepfrog.ranking.explain import ClassExplanation as ClassExplanation
    from leepfrog.ranking.explain import Confusion as Confusion
    from leepfrog.ranking.explain import Example as Example
    from leepfrog.ranking.explain import Explanation as Explanation
    from leepfrog.ranking.explain import explain as explain
    from leepfrog.ranking.racing import Dropped as Dropped
    from leepfrog.ranking.racing import Race as Race
    from leepfrog.ranking.rank import RankRequest as RankRequest
    from leepfrog.ranking.rank import rank as rank
    from leepfrog.ranking.rank_arrays import RankArraysRequest as RankArraysRequest
    from leepfrog.ranking.rank_arrays import rank_arrays as rank_arrays
    from leepfrog.ranking.result import RankedModel as RankedModel
    from leepfrog.ranking.result import Ranking as Ranking
    from leepfrog.ranking.variants import Drift as Drift
    from leepfrog.receipts.receipt import ArrayReceipt as ArrayReceipt
    from leepfrog.receipts.receipt import ClassReceipt as ClassReceipt
    from leepfrog.receipts.receipt import DataReceipt as DataReceipt
    from leepfrog.receipts.receipt import ModelReceipt as ModelReceipt
    from leepfrog.receipts.receipt import Receipt as Receipt
    from leepfrog.receipts.receipt import SkippedImage as SkippedImage
    from leepfrog.scoring.score import Score as Score
    from leepfrog.scoring.scores.leep import leep as leep
    from leepfrog.scoring.scores.leep_loo import leep_loo as leep_loo
    from leepfrog.task2vec.distances import distances as distances
    from leepfrog.task2vec.embed import EmbedRequest as EmbedRequest
    from leepfrog.task2vec.embed import embed as embed
    from leepfrog.task2vec.embedding import EmbeddedLayer as EmbeddedLayer
    from leepfrog.task2vec.embedding import Embedding as Embedding
    from leepfrog.task2vec.probe import Correlation as Correlation
    from leepfrog.task2vec.probe import ProbeFile as ProbeFile
    from leepfrog.task2vec.probe import ProbeLayer as ProbeLayer
    from leepfrog.task2vec.probe import ProbeMetadata as ProbeMetadata
    from leepfrog.validation.agreement import Agreement as Agreement
    from leepfrog.validation.tasks import OverTasks as OverTasks
    from leepfrog.validation.tasks import Task as Task
    from leepfrog.validation.tasks import TasksRequest as TasksRequest
    from leepfrog.validation.tasks import TaskStudy as TaskStudy
    from leepfrog.validation.tasks import study_tasks as study_tasks
    from leepfrog.validation.validate import ValidatedModel as ValidatedModel
    from leepfrog.validation.validate import ValidateRequest as ValidateRequest
    from leepfrog.validation.validate import Validation as Validation
    from leepfrog.validation.validate import validate as validate

# Public functions, all classes in their signatures and results, and all errors, by the module that defines them.
_NAMES = {
    "errors": """
        ArrayError BadInputError DataSetError EmbeddingError ImageError LeepfrogError MachineError ModelError UsageError
        WriteError
    """,
    "execution.context": "RunContext",
    "execution.pipeline": "Unreadable",
    "execution.runner": "LocalRunner Runner",
    "execution.unit": "Block Unit UnitModel",
    "gate.check": "Check Finding check",
    "images.dataset": "ImageSet LabelledImage",
    "images.decode": "Decoded Greys",
    "images.find": "find_images",
    "images.preprocess": "PreprocessSpec",
    "costs.cost": "Cost",
    "inference.header": "Fingerprint Header",
    "inference.metadata": "ModelMetadata Variant",
    "inference.model": "ModelFile",
    "progress": "Progress",
    "ranking.budget": "Budget",
    "ranking.certainty": "Separation",
    "ranking.explain": "Carrier ClassExplanation Confusion Example Explanation explain",
    "ranking.racing": "Dropped Race",
    "ranking.rank": "RankRequest rank",
    "ranking.rank_arrays": "RankArraysRequest rank_arrays",
    "ranking.result": "RankedModel Ranking",
    "ranking.variants": "Drift",
    "receipts.receipt": "ArrayReceipt ClassReceipt DataReceipt ModelReceipt Receipt SkippedImage",
    "scoring.score": "Score",
    "scoring.scores.leep": "leep",
    "scoring.scores.leep_loo": "leep_loo",
    "task2vec.distances": "distances",
    "task2vec.embed": "EmbedRequest embed",
    "task2vec.embedding": "EmbeddedLayer Embedding",
    "task2vec.probe": "Correlation ProbeFile ProbeLayer ProbeMetadata",
    "validation.agreement": "Agreement",
    "validation.tasks": "OverTasks Task TasksRequest TaskStudy study_tasks",
    "validation.validate": "ValidatedModel ValidateRequest Validation validate",
}
_HOMES = {name: f"leepfrog.{module}" for module, names in _NAMES.items() for name in names.split()}
_MODULES = ("errors", "scores")

__all__ = sorted(["__version__", *_HOMES, *_MODULES])


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name in _MODULES:
        return importlib.import_module(f"leepfrog.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'leepfrog' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def _version() -> str:
    """Version of the installed distribution, which is that of a git tag."""
    from importlib import metadata

    try:
        return metadata.version("leepfrog")
    except metadata.PackageNotFoundError:  # a source tree on PYTHONPATH
        return "0+unknown"


def __dir__() -> list[str]:
    return __all__
