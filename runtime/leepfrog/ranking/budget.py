"""Cost budgets and the Pareto front of score and latency."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from numbers import Real

from leepfrog.costs.cost import Cost
from leepfrog.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Budget:
    """Upper limits on a model's cost; None for no limit.

    Attributes:
        latency: median time per image, in seconds.
        size: size of the model file, in bytes.
        memory: peak memory of a process running the model, in bytes.

    Raises:
        UsageError: a limit is not a positive number.

    >>> Budget(latency=0.02, size=10e6)
    Budget(latency=0.02, size=10000000.0, memory=None)
    """

    latency: float | None = None
    size: float | None = None
    memory: float | None = None

    def __post_init__(self) -> None:
        """Check that all limits are positive numbers."""
        for name, limit in dataclasses.asdict(self).items():
            valid = isinstance(limit, Real) and not isinstance(limit, bool) and 0 < float(limit) < math.inf
            if limit is not None and not valid:
                raise UsageError(f"budget: {name} is {limit!r}; give a positive number or None")

    @property
    def needs_costs(self) -> bool:
        """True if there is a limit on a measured cost, that is, latency or memory."""
        return self.latency is not None or self.memory is not None

    def exceeded(self, cost: Cost | None, size: int) -> tuple[str, ...]:
        """Return the names of the limits that a model exceeds.

        Raises:
            UsageError: the cost is unknown and there is a limit on latency or memory.
        """
        if cost is None:
            if self.needs_costs:
                raise UsageError(
                    "a budget on latency or memory needs the costs of all models, and some are unknown; "
                    "measure them: leepfrog bench, or rank with --costs here"
                )
            return ("size",) if self.size is not None and size > self.size else ()
        spent = {"latency": cost.latency, "size": size, "memory": cost.memory}
        limits = dataclasses.asdict(self)
        return tuple(name for name, limit in limits.items() if limit is not None and spent[name] > limit)


def pareto_front(scores: Sequence[float], latencies: Sequence[float]) -> list[bool]:
    """Return which models are Pareto-optimal: no other is at least as good and fast, and better in one of the two."""
    points = list(zip(scores, latencies, strict=True))
    return [
        not any(s >= score and t <= latency and (s, t) != (score, latency) for s, t in points)
        for score, latency in points
    ]
