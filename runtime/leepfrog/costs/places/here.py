"""Costs on this machine, measured with each model in a fresh process."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from leepfrog import child, paths
from leepfrog.arguments import MOST_SECONDS
from leepfrog.costs.cost import Cost
from leepfrog.costs.machine import best_reference, machine, machine_key, remember_reference
from leepfrog.errors import MachineError, ModelError
from leepfrog.execution.context import RunContext
from leepfrog.files import LARGEST_TEXT, printable, read_regular, sealed, unsealed, write_whole
from leepfrog.inference.bounded import seconds_per_image, seconds_set
from leepfrog.inference.cache import cache_key
from leepfrog.inference.model import ModelFile

# Default measuring time in seconds, spent once on single images and once on batches.
BRIEFLY = 0.15
# Environment variable that overrides the default.
SECONDS_VARIABLE = "LEEPFROG_COST_SECONDS"
# A measurement runs about 70 images. It times out after the time allowed for this many images.
LONGEST_IN_IMAGES = 200
# Longest timeout in seconds that all systems accept.
LONGEST = 2_000_000
# Doubtful costs are measured again once. If this many in a row remain in doubt, the machine is busy and the rest are
# not measured again.
STILL_BUSY = 3
# Doubtful costs are reused for this many seconds, so that a series of commands on a busy machine measures them once.
DOUBT_LASTS = 600.0

_NOT_OURS = "is damaged, or was written by another leepfrog version or machine"


class ThisMachine:
    """Costs on this machine: stored by an earlier run with the same number of threads, or measured now."""

    def costs(self, models: Sequence[ModelFile], context: RunContext) -> list[Cost]:
        """Return the costs of models on this machine.

        Doubtful costs are measured once more after all others. Those that remain in doubt are reused for DOUBT_LASTS
        seconds only.

        Args:
            models: the model files.
            context: the execution environment. `measure_seconds` defaults to `$LEEPFROG_COST_SECONDS`, then to BRIEFLY.
                `progress` advances with each model and receives a notice if costs cannot be read or stored.

        Raises:
            ModelError, MachineError: see `measure`.
        """
        progress, device, threads = context.progress, context.device, context.cores
        seconds = context.measure_seconds
        if seconds is None:
            seconds = seconds_set(SECONDS_VARIABLE, BRIEFLY, MOST_SECONDS)

        def measured(model: ModelFile) -> Cost:
            cost = measure(model, device, threads, seconds)
            if not cost.doubtful:
                store_cost(cost, model, device, progress.notice)
            return cost

        progress.start("measuring", len(models))
        costs: list[Cost] = []
        settled: set[int] = set()  # doubtful ones that an earlier run measured twice
        for i, model in enumerate(models):
            stored = None if context.measure_again else stored_cost(model, device, threads, progress.notice)
            if stored is not None and stored.doubtful:
                settled.add(i)
            costs.append(stored or measured(model))
            progress.advance(1)
        best = best_reference(device, threads)
        doubtful = [i for i, cost in enumerate(costs) if i not in settled and cost.doubted(best).doubtful]
        if doubtful:
            progress.start("measuring again", len(doubtful))
        in_a_row = 0
        for i in doubtful:
            if in_a_row < STILL_BUSY:
                costs[i] = min(
                    costs[i], measured(models[i]), key=lambda cost: (len(cost.doubted(best).doubtful), cost.latency)
                )
                in_a_row = in_a_row + 1 if costs[i].doubted(best).doubtful else 0
            progress.advance(1)
        best = best_reference(device, threads)
        costs = [cost.doubted(best) for cost in costs]
        for i in doubtful:
            if costs[i].doubtful:
                store_cost(costs[i], models[i], device, progress.notice)
        return costs


PLACE = ThisMachine()


def measure(model: ModelFile, device: str, threads: int, seconds: float = BRIEFLY) -> Cost:
    """Measure the cost of a model in a separate process.

    Args:
        model: the model file.
        device: name of the device, such as "cpu" (see `leepfrog.inference.devices`).
        threads: number of threads within one run.
        seconds: measuring time in seconds, spent once on single images and once on batches.

    Raises:
        ModelError: the model cannot be loaded or run.
        MachineError: the device is not available, or the process cannot be started.
    """
    best = best_reference(device, threads)
    limit = min(LONGEST_IN_IMAGES * seconds_per_image() + 10 * seconds, LONGEST)
    arguments = (str(model.path), model.sha256, device, str(threads), str(seconds), str(best))
    try:
        done = child.run("leepfrog.costs.worker", *arguments, timeout=limit)
    except subprocess.TimeoutExpired:
        raise ModelError(f"{model.name}: the cost measurement timed out after {limit:g} s") from None
    try:
        measured = json.loads(done.stdout)
    except ValueError:
        why = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ModelError(f"{model.name}: the measuring process failed: {why[:300]}") from None
    if "error" in measured:
        raise (MachineError if measured["exit_code"] == MachineError.exit_code else ModelError)(measured["error"])
    remember_reference(device, threads, measured["reference"])
    return Cost.from_dict(measured | {"threads": threads})


def store_cost(cost: Cost, model: ModelFile, device: str, notice: Callable[[str], None]) -> None:
    """Store a cost for later runs on this machine; failures are reported to `notice`.

    A doubtful cost, whose latency is an upper bound, does not replace one that is beyond doubt or has a lower latency.
    """
    if cost.doubtful:
        known = stored_cost(model, device, cost.threads, lambda _: None)
        best = best_reference(device, cost.threads)
        if known is not None and (known.latency <= cost.latency or not known.doubted(best).doubtful):
            return
    try:
        write_whole(_path(model, device, cost.threads), sealed({"machine": machine(device), **cost.as_dict()}))
    except MachineError as error:
        notice(f"the cost of {model.name} could not be stored; the next run will measure it again: {error}")


def stored_cost(
    model: ModelFile, device: str, threads: int, notice: Callable[[str], None], otherwise: str = "is measured again"
) -> Cost | None:
    """Return the cost stored by `store_cost` on this machine, or None if there is none or it was in doubt long ago.

    If it cannot be used, `notice` receives the problem and, as `otherwise`, what happens to the cost instead.
    """
    path = _path(model, device, threads)
    try:
        values = unsealed(read_regular(path, LARGEST_TEXT))
        cost = Cost.from_dict(values)
        if values.get("machine") == machine(device) and cost.threads == threads:
            return None if cost.doubtful and abs(time.time() - path.stat().st_mtime) > DOUBT_LASTS else cost
        problem = _NOT_OURS
    except FileNotFoundError:
        return None
    except OSError as error:
        problem = f"cannot be read ({error.strerror or error})"
    except (ValueError, KeyError, TypeError):
        problem = _NOT_OURS
    notice(f"{printable(path)} {problem}; the cost of {model.name} {otherwise}")
    return None


def _path(model: ModelFile, device: str, threads: int) -> Path:
    return paths.inference() / cache_key(model, device) / f"cost-{machine_key(device)}-{threads}-threads.json"
