"""Costs that earlier runs measured on this machine: nothing is measured now, and what is not known stays so."""

from __future__ import annotations

from collections.abc import Sequence

from leepfrog.costs.cost import Cost
from leepfrog.costs.machine import best_reference
from leepfrog.costs.places.here import stored_cost
from leepfrog.errors import UsageError
from leepfrog.execution.context import RunContext
from leepfrog.inference.model import ModelFile


class KeptCosts:
    """For a machine that is busy, where measuring takes long and says little."""

    def costs(self, models: Sequence[ModelFile], context: RunContext) -> list[Cost | None]:
        """What earlier runs kept.

        Raises:
            UsageError: costs shall be measured anew.
        """
        if context.measure_again:
            raise UsageError("'kept' measures no costs; --costs here does")
        best = best_reference(context.device, context.cores)
        known = [
            stored_cost(model, context.device, context.cores, context.progress.notice, "is not known")
            for model in models
        ]
        return [cost and cost.doubted(best) for cost in known]


PLACE = KeptCosts()
