"""Command that runs the benchmarks against peers and prints a table of ratios.

    python tests/benchmarks [--images N] [--only NAME]

leepfrog must be installed with its export and dev extras, and nothing else should run on the machine.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

BENCHMARKS = {
    "rank": "rank of the four starter models against decoding, onnxruntime, and a torch loop with NumPy LEEP",
    "leep": "LEEP and leave-one-out LEEP against NumPy",
    "scores": "the other scores against their formulas and against inference",
    "startup": "leepfrog --help against importing typer",
    "fisher": "backward passes and task embeddings against torch; only with --only fisher",
}
BY_DEFAULT = [name for name in BENCHMARKS if name != "fisher"]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python tests/benchmarks",
        description="Print a table of time ratios; both sides of a ratio are run alternately in one process.",
        epilog="\n".join(f"{name:8} {what}" for name, what in BENCHMARKS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--images", type=int, default=200, help="number of photographs (default %(default)s)")
    parser.add_argument("--rounds", type=int, help="paired rounds per benchmark (default: set by each benchmark)")
    parser.add_argument("--folder", type=Path, help="folder of images (default: crops of packages' photographs)")
    parser.add_argument(
        "--only",
        action="append",
        choices=BENCHMARKS,
        metavar="NAME",
        help="a benchmark listed below",
    )
    given = parser.parse_args()
    if given.images < 8 or (given.rounds is not None and given.rounds < 1):
        parser.error("--images must be at least 8, --rounds at least 1")

    here = Path(__file__).resolve().parent
    sys.path[:0] = [str(here), str(here.parent)]
    from material import photographs
    from paired import facts, table

    about, rows = list(facts()), []  # read the load average before the benchmarks add to it
    with photographs(given.images, given.folder) as folder:
        for name in given.only or BY_DEFAULT:
            print(f"{name}: {BENCHMARKS[name]}", file=sys.stderr, flush=True)
            benchmark = importlib.import_module(f"bench_{name}")
            rows += benchmark.rows(folder, given.rounds or benchmark.ROUNDS)
    print(*about, "", table(rows), sep="\n")


if __name__ == "__main__":
    main()
