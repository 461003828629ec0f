"""What a device allows, and which models are worth a look within it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from numbers import Real

from leepfrog.costs.cost import Cost
from leepfrog.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Budget:
    """The most that a model may cost; None for no limit.

    Attributes:
        latency: median seconds of a run on one image.
        size: bytes of the file.
        memory: bytes that a process with the model holds at most.

    Raises:
        UsageError: a limit that is not a positive number.

    >>> Budget(latency=0.02, size=10e6)
    Budget(latency=0.02, size=10000000.0, memory=None)
    """

    latency: float | None = None
    size: float | None = None
    memory: float | None = None

    def __post_init__(self) -> None:
        """Refuse limits that are not positive numbers."""
        for name, limit in dataclasses.asdict(self).items():
            valid = isinstance(limit, Real) and not isinstance(limit, bool) and 0 < float(limit) < math.inf
            if limit is not None and not valid:
                raise UsageError(f"budget: {name} is {limit!r}; give a positive number or None")

    @property
    def needs_costs(self) -> bool:
        """Whether a limit is of something that has to be measured."""
        return self.latency is not None or self.memory is not None

    def exceeded(self, cost: Cost | None, size: int) -> tuple[str, ...]:
        """Which limits a model breaks, by name.

        Raises:
            UsageError: its cost is not known and there is a limit of latency or memory.
        """
        if cost is None:
            if self.needs_costs:
                raise UsageError(
                    "a budget of latency or memory needs the costs of all models, of which some are not known; "
                    "measure them: leepfrog bench, or rank with --costs here"
                )
            return ("size",) if self.size is not None and size > self.size else ()
        spent = {"latency": cost.latency, "size": size, "memory": cost.memory}
        limits = dataclasses.asdict(self)
        return tuple(name for name, limit in limits.items() if limit is not None and spent[name] > limit)


def pareto_front(scores: Sequence[float], latencies: Sequence[float]) -> list[bool]:
    """Which models no other beats: none is at least as good and as quick, and better in one of the two."""
    points = list(zip(scores, latencies, strict=True))
    return [
        not any(s >= score and t <= latency and (s, t) != (score, latency) for s, t in points)
        for score, latency in points
    ]
