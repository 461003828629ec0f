"""Interface of places that measure costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:  # completion and help read the names without importing NumPy
    from leepfrog.costs.cost import Cost
    from leepfrog.execution.context import RunContext
    from leepfrog.inference.model import ModelFile


@runtime_checkable
class Place(Protocol):
    """A place that measures costs, defined as `PLACE` in a module of `leepfrog.costs.places`."""

    def costs(self, models: Sequence[ModelFile], context: RunContext) -> Sequence[Cost | None]:
        """Return the cost of each model at this place, None if unknown. `Cost.place` names the measuring place.

        Args:
            models: the model files.
            context: the execution environment. `measure_again` and `measure_seconds` control the measurement, and
                `progress` advances with each model.

        Raises:
            UsageError: the place does not support the settings of the context.
            ModelError, MachineError: a model fails, or the place is not available.
        """
