"""`leepfrog demo` on an idle and on a busy machine: are latencies equal, or else marked as doubtful and not stored?

Run: PYTHONPATH=tests python tests/benchmarks/bench_busy.py [ROUNDS] [BUSY PROGRAMS]

Each round runs the demo in a fresh home on the idle machine, and again in another fresh home while busy loops run. The
homes contain the exported models and the digits, but no outputs or costs. Nothing else should run on the machine. The
last line counts the latencies under load that are within 20 % of the idle ones, or doubtful and not stored.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from leepfrog import paths
from leepfrog.inference.cache import cache_key
from leepfrog.inference.model import ModelFile
from leepfrog_exporter import demo_data
from material import starters
from paired import facts

ROUNDS, PROGRAMS = 10, 2
ALLOWED = 0.2


class Latency(NamedTuple):
    """Latency of a model in a run of the demo.

    Attributes:
        ms: latency per image, in ms.
        doubtful: whether the demo marked the latency as doubtful.
        kept: whether the cost is stored in the home for later runs.
    """

    ms: float
    doubtful: bool
    kept: bool

    def __str__(self) -> str:
        return f"{'~' * self.doubtful}{self.ms:.1f}"


@contextlib.contextmanager
def busy(programs: int) -> Iterator[None]:
    """Run this number of busy loops."""
    started = [subprocess.Popen([sys.executable, "-c", "while 1: pass"]) for _ in range(programs)]
    try:
        yield
    finally:
        for program in started:
            program.kill()
            program.wait()


def demo(models: list[ModelFile], source: Path) -> tuple[dict[str, Latency], float]:
    """Run the demo in a fresh home; return the latency of each model and the duration of the run, in seconds."""
    with tempfile.TemporaryDirectory(prefix="leepfrog-busy-") as name:
        home = Path(name)
        for part in ("models", "data"):
            shutil.copytree(source / part, home / part)
        begun = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "leepfrog", "demo"],
            env={**os.environ, "LEEPFROG_HOME": name}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        took = time.perf_counter() - begun
        lines = [re.split(r"  +", line.strip()) for line in done.stdout.splitlines()]
        header = next(line for line in lines if line[0] == "rank")
        rows = [dict(zip(header, line, strict=False)) for line in lines if line[0].strip("=").isdigit()]
        shown = {row["model"]: row["ms/image"] for row in rows}
        found = {}
        for model in models:
            kept = any((home / "inference" / cache_key(model, "cpu")).glob("cost-*.json"))
            text = shown[model.name]
            found[model.name] = Latency(float(text.lstrip("~")), text.startswith("~"), kept)
        return found, took


def main(rounds: int, programs: int) -> None:
    print(*facts(), "", sep="\n")
    models, source = starters(), paths.home()
    demo_data.unpack()
    print("| round | model | idle ms | busy ms | ratio | doubtful | kept |\n|---|---|---:|---:|---:|---|---|")
    good = total = 0
    for number in range(1, rounds + 1):
        quiet, quiet_took = demo(models, source)
        with busy(programs):
            loaded, busy_took = demo(models, source)
        for name, ours in loaded.items():
            ratio = ours.ms / quiet[name].ms
            near = abs(ratio - 1) <= ALLOWED and not quiet[name].doubtful
            good += (ours.doubtful and not ours.kept) or near
            total += 1
            cells = "yes" if ours.doubtful else "no", "yes" if ours.kept else "no"
            print(f"| {number} | {name} | {quiet[name]} | {ours} | {ratio:.2f} | {cells[0]} | {cells[1]} |", flush=True)
        print(f"round {number}: {quiet_took:.0f} s idle, {busy_took:.0f} s busy", file=sys.stderr, flush=True)
    print(f"\nwithin {ALLOWED:.0%}, or doubtful and not kept: {good} of {total}")


if __name__ == "__main__":
    main(*[*map(int, sys.argv[1:]), *(ROUNDS, PROGRAMS)[len(sys.argv) - 1 :]])
