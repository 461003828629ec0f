"""What a model costs, as data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from leepfrog.codec import decode, encode_fields
from leepfrog.costs.timing import SLOWER
from leepfrog.inference.choices import HERE

TIMES = ("latency", "latency_p95", "throughput")


@dataclasses.dataclass(frozen=True)
class Cost:
    """Measured with nothing else running in the process, preprocessing not counted.

    Runs that other work on the machine disturbed are left out (see `leepfrog.costs.timing`). Where too few
    others were found, the values are named in `doubtful`, and the latency is what the model took at most.

    Attributes:
        latency: median seconds of a run on one image, after warm-up.
        latency_p95: the 95th percentile of the same runs.
        relative_latency: a run's time divided by that of a reference graph, in turns and on one thread whatever
            `threads` is: what compares between moments and, roughly, machines.
        throughput: images per second in batches of 16.
        memory: the most bytes that the process held while it ran single images.
        memory_of_model: the part of these that came with loading and running the model.
        threads: within one run.
        n_runs: single images timed.
        reference: seconds of a run of the reference graph on as many threads, at the same time.
        doubtful: names of the values above that other work on the machine may have changed; empty if it was quiet.
            Such a cost is not kept for later runs.
        place: where it was measured (see `leepfrog.costs.places`).
    """

    latency: float
    latency_p95: float
    relative_latency: float
    throughput: float
    memory: int
    memory_of_model: int
    threads: int
    n_runs: int
    reference: float
    doubtful: tuple[str, ...] = ()
    place: str = HERE

    @property
    def measured_here(self) -> bool:
        """Whether it was measured on this machine."""
        return self.place == HERE

    @property
    def place_in_words(self) -> str:
        """Where it was measured."""
        return "this machine" if self.measured_here else self.place

    def as_dict(self) -> dict[str, Any]:
        """The cost as JSON-ready values."""
        return encode_fields(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `as_dict` wrote.

        Raises:
            ValueError: it is something else, or not a valid cost.
        """
        if "doubtful" not in values:  # which leepfrog once did not write, whatever the machine was doing
            raise ValueError("cost has no doubtful")
        cost = decode(cls, values, "cost")
        for name in NUMBERS:
            if not getattr(cost, name) >= 0:
                raise ValueError(f"{getattr(cost, name)!r} is not a valid {name}")
        if not cost.latency or not cost.reference:
            raise ValueError("a run takes time")
        if not set(cost.doubtful) <= set(NUMBERS):
            raise ValueError(f"{cost.doubtful!r} are not names of values")
        return cost

    def doubted(self, best: float) -> Cost:
        """The cost with its times in doubt if the reference graph was much slower than its best known seconds."""
        if not best or self.reference <= SLOWER * best:
            return self
        return dataclasses.replace(self, doubtful=tuple(dict.fromkeys((*self.doubtful, *TIMES))))


NUMBERS = tuple(field.name for field in dataclasses.fields(Cost) if field.name not in ("doubtful", "place"))
"""The values that are measured, by name."""
