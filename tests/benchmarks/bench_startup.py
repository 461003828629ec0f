"""Start-up time of `leepfrog --help` against importing typer alone.

Run: python tests/benchmarks/bench_startup.py [ROUNDS]
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from paired import Row, compare, facts, rows_of, table

ROUNDS = 9


def rows(_images: Path | None, rounds: int) -> list[Row]:
    def process(*arguments: str) -> None:
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)

    contestants = {
        "`leepfrog --help`": lambda: process("-m", "leepfrog", "--help"),
        "`import leepfrog`": lambda: process("-c", "import leepfrog"),
        "`import typer`": lambda: process("-c", "import typer"),
        "`python -c pass`": lambda: process("-c", "pass"),
    }
    pairs = [("`leepfrog --help`", "`import typer`"), ("`import leepfrog`", "`python -c pass`")]
    return rows_of(compare(contestants, rounds), pairs)


if __name__ == "__main__":
    found = rows(None, *map(int, sys.argv[1:] or [ROUNDS]))
    print(*facts(), "", table(found), sep="\n")
