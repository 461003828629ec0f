"""Smoke test of the benchmark command, at a size too small for meaningful timings."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent / "benchmarks"


@pytest.mark.slow
def test_the_table_has_its_shape(starters: Path) -> None:
    command = [sys.executable, str(BENCHMARKS), "--images", "8", "--rounds", "1", "--only", "rank"]
    environment = os.environ | {"LEEPFROG_HOME": str(starters.parent)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    about, table = (part.splitlines() for part in done.stdout.split("\n\n"))
    assert "onnxruntime" in about[1]
    assert re.search(r"load average at the start: \d", about[2])
    assert table[0] == "| what | against | ratio median (lowest to highest) | rounds |"
    row = re.compile(r"\| (.+), [\d.]+ m?s \| (.+), [\d.]+ m?s \| ([\d.]+) \(\3 to \3\) \| 1 \|")
    rows = [row.fullmatch(line) for line in table[2:]]
    assert all(rows), done.stdout
    against = {found[2] for found in rows if found}
    assert {"decoding alone", "inference alone", "torch loop and NumPy LEEP"} <= against
    assert not list((starters.parent / "inference").glob("*")), "benchmarks must use a home of their own"


@pytest.mark.full
def test_a_name_that_is_no_benchmark_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS), "--only", "speed"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "rank" in done.stderr
