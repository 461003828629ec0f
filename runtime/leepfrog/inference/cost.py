"""What a model costs on this machine."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from leepfrog import child, paths
from leepfrog.arguments import MOST_SECONDS
from leepfrog.errors import MachineError, ModelError
from leepfrog.files import LARGEST_TEXT, printable, read_regular, sealed, unsealed, write_whole
from leepfrog.inference.bounded import seconds_per_image, seconds_set
from leepfrog.inference.cache import cache_key
from leepfrog.inference.machine import best_reference, machine, machine_key, remember_reference
from leepfrog.inference.model import ModelFile
from leepfrog.inference.undisturbed import SLOWER
from leepfrog.progress import Progress

# How long single images, and then batches, are timed.
BRIEFLY = 0.15
# Sets it for costs that a ranking measures on its way.
SECONDS_VARIABLE = "LEEPFROG_COST_SECONDS"
# A measurement runs some 70 images, and may take as long as the time limit allows for this many.
LONGEST_IN_IMAGES = 200
# What the system takes as a limit of time.
LONGEST = 2_000_000
# Costs are measured again once; so many in a row that stay in doubt mean that the machine stays busy.
STILL_BUSY = 3

TIMES = ("latency", "latency_p95", "throughput")


@dataclasses.dataclass(frozen=True)
class Cost:
    """Measured in a fresh process with nothing else running in it, preprocessing not counted.

    Runs that other work on the machine disturbed are left out (see `leepfrog.inference.undisturbed`). Where too few
    others were found, the values are named in `doubtful`, and the latency is what the model took at most.

    Attributes:
        latency: median seconds of a run on one image, after warm-up.
        latency_p95: the 95th percentile of the same runs.
        relative_latency: a run's time divided by that of a fixed graph, in turns and on one thread whatever `threads`
            is: what compares between moments and, roughly, machines.
        throughput: images per second in batches of 16.
        memory: the most bytes that the process held while it ran single images.
        memory_of_model: the part of these that came with loading and running the model.
        threads: within one run.
        n_runs: single images timed.
        reference: seconds of a run of the fixed graph on as many threads, at the same time.
        doubtful: names of the values above that other work on the machine may have changed; empty if it was quiet.
            Such a cost is not kept for later runs.
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

    def as_dict(self) -> dict[str, Any]:
        """The cost as JSON-ready values."""
        return dataclasses.asdict(self) | {"doubtful": list(self.doubtful)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Cost:
        """Read what `as_dict` wrote.

        Raises:
            ValueError, TypeError, KeyError: it is something else, or not a valid cost.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        found = cls(**{**{name: values[name] for name in names}, "doubtful": tuple(values["doubtful"])})
        for name in names[:-1]:
            value = getattr(found, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise ValueError(f"{value!r} is not a valid {name}")
        if not found.latency or not found.reference:
            raise ValueError("a run takes time")
        if not set(found.doubtful) <= set(names):
            raise ValueError(f"{found.doubtful!r} are not names of values")
        return found

    def doubted(self, best: float) -> Cost:
        """The cost with its times in doubt if the fixed graph was much slower than its best known seconds."""
        if not best or self.reference <= SLOWER * best:
            return self
        return dataclasses.replace(self, doubtful=tuple(dict.fromkeys((*self.doubtful, *TIMES))))


def measure(model: ModelFile, device: str, threads: int, seconds: float = BRIEFLY) -> Cost:
    """Run a model in a process of its own.

    Args:
        model: the file.
        device: its name, such as "cpu" (see `leepfrog.inference.devices`).
        threads: threads within one run.
        seconds: how long to time single images, and then batches.

    Raises:
        ModelError: it cannot be loaded or run.
        MachineError: the device is not there, or the process cannot be started.
    """
    known = best_reference(device, threads)
    limit = min(LONGEST_IN_IMAGES * seconds_per_image() + 10 * seconds, LONGEST)
    arguments = (str(model.path), model.sha256, device, str(threads), str(seconds), str(known))
    try:
        done = child.run("leepfrog.inference.footprint", *arguments, timeout=limit)
    except subprocess.TimeoutExpired:
        raise ModelError(f"{model.name}: takes too long to be measured, more than {limit:g} s") from None
    try:
        found = json.loads(done.stdout)
    except ValueError:
        why = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ModelError(f"{model.name}: fails when run by itself: {why[:300]}") from None
    if "error" in found:
        raise (MachineError if found["exit_code"] == MachineError.exit_code else ModelError)(found["error"])
    remember_reference(device, threads, found["reference"])
    return Cost.from_dict(found | {"threads": threads})


def costs_of(
    models: Sequence[ModelFile],
    device: str,
    threads: int,
    progress: Progress,
    *,
    seconds: float | None = None,
    measure_again: bool = False,
) -> list[Cost]:
    """What models cost: what an earlier run measured on this machine with as many threads, or what is measured now.

    What is in doubt is measured once more, after all others. What stays in doubt is not kept.

    Args:
        models: the files.
        device: its name, such as "cpu" (see `leepfrog.inference.devices`).
        threads: threads within one run.
        progress: is told of each model, and of costs that cannot be read or kept.
        seconds: how long to time single images, and then batches; None for `$LEEPFROG_COST_SECONDS`, or BRIEFLY.
        measure_again: measure costs even if they are known.

    Raises:
        ModelError, MachineError: see `measure`.
    """
    how_long = seconds_set(SECONDS_VARIABLE, BRIEFLY, MOST_SECONDS) if seconds is None else seconds

    def measured(model: ModelFile) -> Cost:
        cost = measure(model, device, threads, how_long)
        keep(cost, model, device, progress.notice)
        return cost

    progress.start("measuring", len(models))
    found = []
    for model in models:
        kept = None if measure_again else _kept(model, device, threads, progress.notice)
        found.append(kept or measured(model))
        progress.advance(1)
    best = best_reference(device, threads)
    doubtful = [i for i, cost in enumerate(found) if cost.doubted(best).doubtful]
    if doubtful:
        progress.start("measuring again", len(doubtful))
    in_a_row = 0
    for i in doubtful:
        if in_a_row < STILL_BUSY:
            found[i] = min(
                found[i], measured(models[i]), key=lambda cost: (len(cost.doubted(best).doubtful), cost.latency)
            )
            in_a_row = in_a_row + 1 if found[i].doubted(best).doubtful else 0
        progress.advance(1)
    best = best_reference(device, threads)
    return [cost.doubted(best) for cost in found]


def keep(cost: Cost, model: ModelFile, device: str, notice: Callable[[str], None]) -> None:
    """Keep a cost for later runs on this machine, unless it is in doubt; `notice` is told if that fails."""
    if cost.doubtful:
        return
    try:
        write_whole(_path(model, device, cost.threads), sealed({"machine": machine(device), **cost.as_dict()}))
    except MachineError as error:
        notice(f"the cost of {model.name} is not kept, the next run measures it again: {error}")


def _kept(model: ModelFile, device: str, threads: int, notice: Callable[[str], None]) -> Cost | None:
    """What `keep` kept on this machine, if it did and it can be read."""
    path = _path(model, device, threads)
    try:
        values = unsealed(read_regular(path, LARGEST_TEXT))
        cost = Cost.from_dict(values)
        if values.get("machine") == machine(device) and cost.threads == threads and not cost.doubtful:
            return cost
        raise ValueError("it was measured on another machine")
    except FileNotFoundError:
        return None
    except OSError as error:
        notice(
            f"{printable(path)} cannot be read ({error.strerror or error}); the cost of {model.name} is measured again"
        )
    except (ValueError, KeyError, TypeError):
        notice(
            f"{printable(path)} is damaged, or of another leepfrog or machine; the cost of {model.name} is measured "
            "again"
        )
    return None


def _path(model: ModelFile, device: str, threads: int) -> Path:
    return paths.inference() / cache_key(model, device) / f"cost-{machine_key(device)}-{threads}-threads.json"
