"""Costs measured by earlier runs on this machine; nothing is measured now, so missing costs remain unknown."""

from __future__ import annotations

from collections.abc import Sequence

from leepfrog.costs.cost import Cost
from leepfrog.costs.machine import best_reference
from leepfrog.costs.places.here import stored_cost
from leepfrog.errors import UsageError
from leepfrog.execution.context import RunContext
from leepfrog.inference.model import ModelFile


class KeptCosts:
    """Stored costs only, for busy machines, where measuring is slow and unreliable."""

    def costs(self, models: Sequence[ModelFile], context: RunContext) -> list[Cost | None]:
        """Return the costs stored by earlier runs, None for models without any.

        Raises:
            UsageError: `measure_again` is set.
        """
        if context.measure_again:
            raise UsageError("'kept' does not measure costs; use --costs here")
        best = best_reference(context.device, context.cores)
        known = [
            stored_cost(model, context.device, context.cores, context.progress.notice, "is unknown") for model in models
        ]
        return [cost and cost.doubted(best) for cost in known]


PLACE = KeptCosts()
