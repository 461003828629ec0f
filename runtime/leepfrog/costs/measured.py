"""The costs of a ranking's models, each measured once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from leepfrog.costs.cost import Cost
from leepfrog.costs.places import PLACES
from leepfrog.errors import MachineError
from leepfrog.execution.context import RunContext
from leepfrog.inference.model import ModelFile


def measure_costs(models: Sequence[ModelFile], context: RunContext) -> list[Cost]:
    """The costs of models where the context says, all of them known.

    Raises:
        UsageError: the place is unknown, or cannot do what the context says.
        ModelError, MachineError: a model fails, or the place cannot be had or does not know its cost.
    """
    costs = []
    for model, cost in zip(models, PLACES.named(context.costs).costs(models, context), strict=True):
        if cost is None:
            raise MachineError(f"{model.name}: the place {context.costs} does not know its cost")
        costs.append(cost)
    return costs


class CostTable:
    """Costs by model, measured where the context says."""

    def __init__(self, context: RunContext, before: Callable[[], None]) -> None:
        """Nothing is measured yet.

        Args:
            context: names the place.
            before: is called before anything is measured, so that this process then does nothing else.

        Raises:
            UsageError: the place is unknown.
        """
        self._context, self._place, self._before = context, PLACES.named(context.costs), before
        self._costs: dict[str, Cost | None] = {}

    def measure(self, models: Sequence[ModelFile]) -> None:
        """Measure those of the models that are not measured yet; same errors as `Place.costs`."""
        missing = [model for model in models if model.sha256 not in self._costs]
        if missing:
            self._before()
            costs = self._place.costs(missing, self._context)
            self._costs |= {model.sha256: cost for model, cost in zip(missing, costs, strict=True)}

    def __getitem__(self, model: ModelFile) -> Cost | None:
        """A model's cost, which has been measured; None where the place does not know it."""
        return self._costs[model.sha256]
