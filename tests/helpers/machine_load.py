"""Helpers that put load on chosen cores, and a fixed cost as measured on an idle machine."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence

import pytest
from leepfrog.costs.cost import Cost
from leepfrog.costs.places.here import store_cost
from leepfrog.inference.model import ModelFile

COST = Cost(
    latency=4e-3,
    latency_p95=5e-3,
    relative_latency=8.0,
    throughput=300.0,
    memory=10**8,
    memory_of_model=10**7,
    threads=2,
    n_runs=40,
    reference=1e-9,  # faster than any machine, so the cost is never considered doubtful
)

needs_affinity = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="CPU affinity is Linux only")


def keep_costs(models: Sequence[ModelFile], threads: int) -> Cost:
    """Store a cost for each model, so that rankings with this number of threads measure none."""
    cost = dataclasses.replace(COST, threads=threads)
    for model in models:
        store_cost(cost, model, "cpu", pytest.fail)
    return cost


@contextlib.contextmanager
def on_cores(cores: set[int]) -> Iterator[None]:
    """Restrict this process and its children to these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def busy(cores: set[int], programs: int) -> Iterator[None]:
    """Run this number of busy loops on each of the cores."""
    started = []
    try:
        for core in cores:
            with on_cores({core}):
                command = [sys.executable, "-c", "print(flush=True)\nwhile True: pass"]
                started += [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(programs)]
        for program in started:
            assert program.stdout is not None
            program.stdout.readline()
        yield
    finally:
        for program in started:
            program.kill()
            program.communicate()
