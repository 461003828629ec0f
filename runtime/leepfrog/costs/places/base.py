"""What a place that measures costs looks like to the ranking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:  # completion and help read names without NumPy
    from leepfrog.costs.cost import Cost
    from leepfrog.execution.context import RunContext
    from leepfrog.inference.model import ModelFile


@runtime_checkable
class Place(Protocol):
    """A place that measures costs: a module of `leepfrog.costs.places` that has one as `PLACE`."""

    def costs(self, models: Sequence[ModelFile], context: RunContext) -> Sequence[Cost | None]:
        """What each model costs there; None where that is not known. `Cost.place` names the place that measured it.

        Args:
            models: the files.
            context: `measure_again` and `measure_seconds` say how; its progress advances with each model.

        Raises:
            UsageError: it cannot do what the context says.
            ModelError, MachineError: a model fails, or the place cannot be had.
        """
