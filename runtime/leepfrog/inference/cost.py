"""What a model costs on this machine."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from leepfrog import paths
from leepfrog.errors import MachineError, ModelError
from leepfrog.files import LARGEST_TEXT, printable, read_regular, sealed, unsealed, write_whole
from leepfrog.inference.cache import cache_key
from leepfrog.inference.model import ModelFile

# How long single images, and then batches, are timed.
BRIEFLY, AT_LENGTH = 0.15, 2.0


@dataclasses.dataclass(frozen=True)
class Cost:
    """Measured in a fresh process with nothing else running in it, preprocessing not counted.

    Attributes:
        latency: median seconds of a run on one image, after warm-up.
        latency_p95: the 95th percentile.
        relative_latency: a run's time divided by that of a fixed graph, in turns and on one thread whatever `threads`
            is: what compares between moments and, roughly, machines.
        throughput: images a second in batches of 16.
        memory: the most bytes that the process held while it ran single images.
        memory_of_model: the part of these that came with loading and running the model.
        threads: within one run.
        n_runs: single images timed.
    """

    latency: float
    latency_p95: float
    relative_latency: float
    throughput: float
    memory: int
    memory_of_model: int
    threads: int
    n_runs: int

    def as_dict(self) -> dict[str, float | int]:
        """The cost as JSON-ready values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Cost:
        """Read what `as_dict` wrote.

        Raises:
            ValueError, TypeError, KeyError: it is something else, or no cost.
        """
        found = cls(**{field.name: values[field.name] for field in dataclasses.fields(cls)})
        for value in dataclasses.asdict(found).values():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise ValueError(f"{value!r} is no cost")
        if not found.latency:
            raise ValueError("a run takes time")
        return found


def measure(model: ModelFile, device: str, threads: int, seconds: float = BRIEFLY) -> Cost:
    """Run a model in a process of its own.

    Args:
        model: the file.
        device: "cpu" or "cuda".
        threads: threads within one run.
        seconds: how long to time single images, and then batches.

    Raises:
        ModelError: it cannot be loaded or run.
        MachineError: the device is not there, or the process cannot be started.
    """
    command = [sys.executable, "-m", "leepfrog.inference.footprint", str(model.path), model.sha256, device]
    try:
        done = subprocess.run(  # noqa: S603
            [*command, str(threads), str(seconds)], capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise MachineError(f"no process to measure {model.name} in: {error}") from None
    try:
        found = json.loads(done.stdout)
    except ValueError:
        why = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ModelError(f"{model.name}: fails when run by itself: {why[:300]}") from None
    if "error" in found:
        raise (MachineError if found["exit_code"] == MachineError.exit_code else ModelError)(found["error"])
    latencies = np.array(found["latencies"])
    return Cost(
        latency=float(np.median(latencies)),
        latency_p95=float(np.quantile(latencies, 0.95)),
        relative_latency=found["relative"],
        throughput=found["batch"] / float(np.median(found["batch_seconds"])),
        memory=found["memory"],
        memory_of_model=found["memory"] - found["memory_before"],
        threads=threads,
        n_runs=len(latencies),
    )


def cost_of(
    model: ModelFile, device: str, threads: int, notice: Callable[[str], None], measure_again: bool = False
) -> Cost:
    """What was measured earlier with as many threads, else measured now and kept; errors as of `measure`."""
    path = _path(model, device, threads)
    if not measure_again and path.exists():
        try:
            return Cost.from_dict(unsealed(read_regular(path, LARGEST_TEXT)))
        except (OSError, ValueError, KeyError, TypeError):
            notice(f"{printable(path)} is damaged, or by another leepfrog; the cost of {model.name} is measured again")
    cost = measure(model, device, threads)
    keep(cost, model, device, notice)
    return cost


def keep(cost: Cost, model: ModelFile, device: str, notice: Callable[[str], None]) -> None:
    """Keep what was measured for later runs; where that cannot be, `notice` is told."""
    try:
        write_whole(_path(model, device, cost.threads), sealed(cost.as_dict()))
    except MachineError as error:
        notice(f"the cost of {model.name} is not kept, the next run measures it again: {error}")


def _path(model: ModelFile, device: str, threads: int) -> Path:
    return paths.inference() / cache_key(model, device) / f"cost-{threads}-threads.json"
