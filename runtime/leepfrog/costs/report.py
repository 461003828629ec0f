"""Measured costs as a result."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Self

from leepfrog.costs.cost import Cost
from leepfrog.inference.model import ModelFile
from leepfrog.results import Result


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeasuredModel(Cost):
    """A model with its cost.

    Attributes:
        model, sha256: which one.
        size_bytes: the ONNX file's size.
        n_parameters: numbers in the weights.
        macs: multiply-adds on one image, if they could be counted.
    """

    model: str
    sha256: str
    size_bytes: int
    n_parameters: int
    macs: int | None

    @classmethod
    def of(cls, model: ModelFile, cost: Cost) -> Self:
        """A model and what it costs."""
        return cls(
            **{field.name: getattr(cost, field.name) for field in dataclasses.fields(cost)},
            model=model.name,
            sha256=model.sha256,
            size_bytes=model.size,
            n_parameters=model.metadata.n_parameters,
            macs=model.metadata.macs,
        )


@dataclasses.dataclass(frozen=True)
class CostReport(Result):
    """What models cost.

    Attributes:
        models: in the order asked for.
        environment: where they were measured (see `leepfrog.inference.device.environment`).
    """

    kind: ClassVar = "costs"
    schema_version: ClassVar = 2

    models: tuple[MeasuredModel, ...]
    environment: dict[str, Any]
