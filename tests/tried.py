"""How many bad inputs and faults this run of the tests tried, and what became of them; conftest.py prints it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from typing import Any

import hypothesis

INPUTS: Counter[str] = Counter()
"""Inputs tried, by kind."""
OUTCOMES: Counter[str] = Counter()
"""What came of fuzzed inputs: "images: decoded", "images: refused"."""
FAULTS: Counter[str] = Counter()
"""Faults injected into real processes, by kind."""
TRACEBACKS: list[str] = []
"""Commands that ended with a traceback or an internal error."""

TIMES = float(os.environ.get("LEEPFROG_FUZZ", "1"))
"""How many times as many examples as CI tries."""


def examples(n: int) -> hypothesis.settings:
    """Settings of a fuzz test that tries n examples in CI."""
    return hypothesis.settings(
        max_examples=max(1, round(n * TIMES)),
        suppress_health_check=list(hypothesis.HealthCheck),
        print_blob=True,
    )


def outcome(kind: str, what: str) -> None:
    """Count an input of a kind and what came of it."""
    INPUTS[kind] += 1
    OUTCOMES[f"{kind} {what}"] += 1


def counts() -> dict[str, Any]:
    """All that was counted, as plain values."""
    return {name: dict(count) for name, count in _COUNTERS.items()} | {"tracebacks": list(TRACEBACKS)}


def add(others: Mapping[str, Any]) -> None:
    """What `counts` gave in another process."""
    for name, count in _COUNTERS.items():
        count.update(others.get(name, {}))
    TRACEBACKS.extend(others.get("tracebacks", []))


_COUNTERS = {"inputs": INPUTS, "outcomes": OUTCOMES, "faults": FAULTS}


def tell() -> list[str]:
    """Lines for the end of a run."""

    def listed(counts: Counter[str]) -> str:
        return ", ".join(f"{name} {n:,}" for name, n in sorted(counts.items()))

    lines = []
    if INPUTS:
        lines.append(f"inputs tried: {listed(INPUTS)}; {INPUTS.total():,} in all")
    if OUTCOMES:
        lines.append(f"of the fuzzed ones: {listed(OUTCOMES)}")
    if FAULTS:
        lines.append(f"faults injected: {listed(FAULTS)}; {FAULTS.total():,} in all")
    if lines:
        lines.append(f"tracebacks and internal errors: {len(TRACEBACKS)}")
    return lines
