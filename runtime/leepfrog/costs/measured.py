"""Measurement of the costs of a ranking's models, once per model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from leepfrog.costs.cost import Cost
from leepfrog.costs.places import PLACES
from leepfrog.errors import MachineError
from leepfrog.execution.context import RunContext
from leepfrog.inference.model import ModelFile


def measure_costs(models: Sequence[ModelFile], context: RunContext) -> list[Cost]:
    """Return the costs of models at the place named by the context, all of which must be known.

    Raises:
        UsageError: the place is unknown or does not support the settings of the context.
        ModelError, MachineError: a model fails, or the place is not available or does not know the cost.
    """
    costs = []
    for model, cost in zip(models, PLACES.named(context.costs).costs(models, context), strict=True):
        if cost is None:
            raise MachineError(f"{model.name}: its cost is unknown at the place {context.costs}")
        costs.append(cost)
    return costs


class CostTable:
    """Costs by model, measured at the place named by the context."""

    def __init__(self, context: RunContext, before: Callable[[], None]) -> None:
        """Create an empty table.

        Args:
            context: the execution environment, which names the place.
            before: function called before each measurement, so that this process is idle while costs are measured.

        Raises:
            UsageError: the place is unknown.
        """
        self._context, self._place, self._before = context, PLACES.named(context.costs), before
        self._costs: dict[str, Cost | None] = {}

    def measure(self, models: Sequence[ModelFile]) -> None:
        """Measure the models that have not been measured yet; same errors as `Place.costs`."""
        missing = [model for model in models if model.sha256 not in self._costs]
        if missing:
            self._before()
            costs = self._place.costs(missing, self._context)
            self._costs |= {model.sha256: cost for model, cost in zip(missing, costs, strict=True)}

    def __getitem__(self, model: ModelFile) -> Cost | None:
        """Return the cost of a measured model, None if the place does not know it."""
        return self._costs[model.sha256]
