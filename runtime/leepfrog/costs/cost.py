"""Data class for the measured cost of a model."""

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
    """Cost of a model, measured in a process that does nothing else, without preprocessing.

    Runs disturbed by other work on the machine are excluded (see `leepfrog.costs.timing`). If too few undisturbed runs
    remain, the affected values are listed in `doubtful`, and the latency is an upper bound.

    Attributes:
        latency: median time per run on one image after warm-up, in seconds.
        latency_p95: 95th percentile of the same runs, in seconds.
        relative_latency: time per run divided by that of a reference graph, measured in alternation and on one thread
            whatever `threads` is. It is comparable between moments and, roughly, between machines.
        throughput: images per second in batches of 16.
        memory: peak memory of the process while it ran single images, in bytes.
        memory_of_model: part of `memory` due to loading and running the model, in bytes.
        threads: number of threads within one run.
        n_runs: number of timed runs on single images.
        reference: time per run of the reference graph during the measurement, on the same number of threads, in
            seconds.
        doubtful: names of the values that other work on the machine may have affected; empty if it was quiet. A cost
            with doubtful values is measured again after ten minutes.
        place: name of the place of the measurement (see `leepfrog.costs.places`).
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
        """True if the cost was measured on this machine."""
        return self.place == HERE

    @property
    def place_in_words(self) -> str:
        """Place of the measurement, for messages."""
        return "this machine" if self.measured_here else self.place

    def as_dict(self) -> dict[str, Any]:
        """Return the cost as JSON-ready values."""
        return encode_fields(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Create a cost from the values of `as_dict`.

        Raises:
            ValueError: the values are not a valid cost.
        """
        if "doubtful" not in values:  # early versions did not record whether the machine was busy
            raise ValueError("cost has no field doubtful")
        cost = decode(cls, values, "cost")
        for name in NUMBERS:
            if not getattr(cost, name) >= 0:
                raise ValueError(f"{getattr(cost, name)!r} is not a valid {name}")
        if not cost.latency or not cost.reference:
            raise ValueError("latency and reference must be positive")
        if not set(cost.doubtful) <= set(NUMBERS):
            raise ValueError(f"doubtful lists unknown values: {cost.doubtful!r}")
        return cost

    def doubted(self, best: float) -> Cost:
        """Return the cost with its times marked as doubtful if the reference graph was much slower than its `best`."""
        if not best or self.reference <= SLOWER * best:
            return self
        return dataclasses.replace(self, doubtful=tuple(dict.fromkeys((*self.doubtful, *TIMES))))


NUMBERS = tuple(field.name for field in dataclasses.fields(Cost) if field.name not in ("doubtful", "place"))
"""Names of the measured values."""
