"""`leepfrog demo` on a quiet and on a busy machine: are its latencies the same, or marked as doubtful and not kept?

Run: PYTHONPATH=tests python tests/benchmarks/bench_busy.py [ROUNDS] [BUSY PROGRAMS]

Each round runs the demo in a fresh home, and again in another beside programs that do nothing but compute. The homes
hold the exported models and the digits; outputs and costs are fresh. Nothing else should run on the machine. The last
line counts the latencies beside other programs that are within 20 % of the quiet ones, or in doubt and not kept.
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
    """What the demo says of a model, in ms, and whether a later run would take it from the home."""

    ms: float
    doubtful: bool
    kept: bool

    def __str__(self) -> str:
        return f"{'~' * self.doubtful}{self.ms:.1f}"


@contextlib.contextmanager
def busy(programs: int) -> Iterator[None]:
    """Run so many programs that never wait."""
    started = [subprocess.Popen([sys.executable, "-c", "while 1: pass"]) for _ in range(programs)]
    try:
        yield
    finally:
        for program in started:
            program.kill()
            program.wait()


def demo(models: list[ModelFile], source: Path) -> tuple[dict[str, Latency], float]:
    """Run the demo in a fresh home; each model's latency, and the seconds that all took."""
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
        said = {row["model"]: row["ms/image"] for row in rows}
        found = {}
        for model in models:
            kept = any((home / "inference" / cache_key(model, "cpu")).glob("cost-*.json"))
            text = said[model.name]
            found[model.name] = Latency(float(text.lstrip("~")), text.startswith("~"), kept)
        return found, took


def main(rounds: int, programs: int) -> None:
    print(*facts(), "", sep="\n")
    models, source = starters(), paths.home()
    demo_data.unpack()
    print("| round | model | quiet ms | busy ms | ratio | doubtful | kept |\n|---|---|---:|---:|---:|---|---|")
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
            told = "yes" if ours.doubtful else "no", "yes" if ours.kept else "no"
            print(f"| {number} | {name} | {quiet[name]} | {ours} | {ratio:.2f} | {told[0]} | {told[1]} |", flush=True)
        print(f"round {number}: {quiet_took:.0f} s quiet, {busy_took:.0f} s busy", file=sys.stderr, flush=True)
    print(f"\nwithin {ALLOWED:.0%}, or doubtful and not kept: {good} of {total}")


if __name__ == "__main__":
    main(*[*map(int, sys.argv[1:]), *(ROUNDS, PROGRAMS)[len(sys.argv) - 1 :]])
