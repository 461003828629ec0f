"""Result type for measured costs."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Self

from leepfrog.costs.cost import Cost
from leepfrog.inference.model import ModelFile
from leepfrog.results import Result


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeasuredModel(Cost):
    """A model with its measured cost.

    Attributes:
        model: name of the model.
        sha256: SHA-256 of the model file.
        size_bytes: size of the ONNX file, in bytes.
        n_parameters: number of parameters.
        macs: multiply-adds per image; None if they could not be counted.
    """

    model: str
    sha256: str
    size_bytes: int
    n_parameters: int
    macs: int | None

    @classmethod
    def of(cls, model: ModelFile, cost: Cost) -> Self:
        """Combine a model with its cost."""
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
    """Measured costs of several models.

    Attributes:
        models: the models with their costs, in the requested order.
        environment: environment of the measurement (see `leepfrog.inference.device.environment`).
    """

    kind: ClassVar = "costs"
    schema_version: ClassVar = 2

    models: tuple[MeasuredModel, ...]
    environment: dict[str, Any]
