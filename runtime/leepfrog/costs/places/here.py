"""Costs on this machine, each model in a fresh process."""

from __future__ import annotations

import json
import subprocess
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

_NOT_OURS = "is damaged, or of another leepfrog or machine"


class ThisMachine:
    """What an earlier run measured on this machine with as many threads, or what is measured now."""

    def costs(self, models: Sequence[ModelFile], context: RunContext) -> list[Cost]:
        """What models cost here. What is in doubt is measured once more, after all others; if it stays so, not kept.

        Args:
            models: the files.
            context: without `measure_seconds`, `$LEEPFROG_COST_SECONDS` or BRIEFLY counts. Its progress advances with
                each model, and gets a notice of costs that cannot be read or kept.

        Raises:
            ModelError, MachineError: see `measure`.
        """
        progress, device, threads = context.progress, context.device, context.cores
        seconds = context.measure_seconds
        if seconds is None:
            seconds = seconds_set(SECONDS_VARIABLE, BRIEFLY, MOST_SECONDS)

        def measured(model: ModelFile) -> Cost:
            cost = measure(model, device, threads, seconds)
            store_cost(cost, model, device, progress.notice)
            return cost

        progress.start("measuring", len(models))
        costs = []
        for model in models:
            stored = None if context.measure_again else stored_cost(model, device, threads, progress.notice)
            costs.append(stored or measured(model))
            progress.advance(1)
        best = best_reference(device, threads)
        doubtful = [i for i, cost in enumerate(costs) if cost.doubted(best).doubtful]
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
        return [cost.doubted(best) for cost in costs]


PLACE = ThisMachine()


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
    best = best_reference(device, threads)
    limit = min(LONGEST_IN_IMAGES * seconds_per_image() + 10 * seconds, LONGEST)
    arguments = (str(model.path), model.sha256, device, str(threads), str(seconds), str(best))
    try:
        done = child.run("leepfrog.costs.worker", *arguments, timeout=limit)
    except subprocess.TimeoutExpired:
        raise ModelError(f"{model.name}: takes too long to be measured, more than {limit:g} s") from None
    try:
        measured = json.loads(done.stdout)
    except ValueError:
        why = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ModelError(f"{model.name}: fails when run by itself: {why[:300]}") from None
    if "error" in measured:
        raise (MachineError if measured["exit_code"] == MachineError.exit_code else ModelError)(measured["error"])
    remember_reference(device, threads, measured["reference"])
    return Cost.from_dict(measured | {"threads": threads})


def store_cost(cost: Cost, model: ModelFile, device: str, notice: Callable[[str], None]) -> None:
    """Keep a cost for later runs on this machine, unless it is in doubt; `notice` reports a failure."""
    if cost.doubtful:
        return
    try:
        write_whole(_path(model, device, cost.threads), sealed({"machine": machine(device), **cost.as_dict()}))
    except MachineError as error:
        notice(f"the cost of {model.name} is not kept, the next run measures it again: {error}")


def stored_cost(
    model: ModelFile, device: str, threads: int, notice: Callable[[str], None], otherwise: str = "is measured again"
) -> Cost | None:
    """What `store_cost` stored on this machine; if that cannot be read, `notice` is told what becomes of the cost."""
    path = _path(model, device, threads)
    try:
        values = unsealed(read_regular(path, LARGEST_TEXT))
        cost = Cost.from_dict(values)
        if values.get("machine") == machine(device) and cost.threads == threads and not cost.doubtful:
            return cost
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
