"""Export and rank every network of the sweep; resumes where it was stopped."""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from photos import folder_of_pieces
from studies.every_network.names import sources

RESULTS = Path(__file__).parent / "results"
FIELDS = ("source", "outcome", "seconds", "message")
# Maximum time to export a network; larger ones are said to have run out of time.
SECONDS = 600
RANKED, REFUSED, FAILED = "ranked", "refused", "failed"
# Exit codes of errors that leepfrog explains in one line.
EXPLAINED = (2, 3, 4)


def main() -> None:
    """Run the sweep, then write its table."""
    parser = argparse.ArgumentParser(prog="studies.every_network")
    parser.add_argument("--out", type=Path, default=RESULTS / "networks.csv", help="CSV file of the results")
    parser.add_argument("--again", action="store_true", help="try networks that were not ranked again")
    parser.add_argument("--only", default="", help="only sources that contain this text")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    rows = {row["source"]: row for row in read(arguments.out)}
    todo = [
        source
        for source in sources()
        if arguments.only in source and (source not in rows or (arguments.again and rows[source]["outcome"] != RANKED))
    ]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(arguments.processes) as pool:
        images = folder_of_pieces(Path(folder) / "photographs", count=3)
        for row in pool.map(lambda source: tried(source, images), todo):
            rows[row["source"]] = row
            write(arguments.out, [rows[source] for source in sorted(rows)])
            print(f"{len(rows)}: {', '.join(row.values())}", flush=True)
    print(*summary(rows.values()), sep="\n")


def tried(source: str, images: Path) -> dict[str, str]:
    """Export a network with random weights, rank it on the images, and return a row of the results."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        code, message = leepfrog(
            ["export", source, "--random-weights", "-o", f"{folder}/models", "--quiet"], Path(folder)
        )
        if code == 0:
            code, message = leepfrog(
                ["rank", str(images), "-m", f"{folder}/models", "--quiet", "--format", "csv"], Path(folder)
            )
    outcome = RANKED if code == 0 else REFUSED if code in EXPLAINED and message.count("\n") == 0 else FAILED
    seconds = f"{time.monotonic() - begun:.0f}"
    shown = "" if outcome == RANKED else (message.splitlines() or [f"exit code {code}"])[-1]
    return dict(zip(FIELDS, (source, outcome, seconds, shown.removeprefix("leepfrog: error: ")), strict=True))


def leepfrog(words: Sequence[str], home: Path) -> tuple[int, str]:
    """Run a command; return its exit code and what it wrote to stderr."""
    environment = os.environ | {"LEEPFROG_HOME": str(home), "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "leepfrog", *words],
            check=False, env=environment, capture_output=True, text=True, timeout=SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return -1, f"ran out of time: {SECONDS} s"
    return done.returncode, done.stderr.strip()


def summary(rows: Sequence[dict[str, str]]) -> list[str]:
    """Return one line per library: how many networks were ranked."""
    lines = []
    for library in ("timm", "torchvision"):
        of_library = Counter(row["outcome"] for row in rows if row["source"].startswith(f"{library}:"))
        n = of_library.total()
        if n:
            lines.append(f"{library}: {of_library[RANKED]} of {n} ranked ({of_library[RANKED] / n:.1%})")
    return lines


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows of an earlier run."""
    if not path.exists():
        return []
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def write(path: Path, rows: Sequence[dict[str, str]]) -> None:
    """Write the rows."""
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, FIELDS)
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
