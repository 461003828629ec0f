"""Every benchmark that has a peer, in one table of ratios: python tests/benchmarks [--images N] [--only NAME].

leepfrog must be installed with its export and dev extras. Keep the machine quiet meanwhile.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

BENCHMARKS = {
    "rank": "rank of the four starter models, against decoding, onnxruntime and a torch loop with NumPy LEEP",
    "leep": "LEEP and leave-one-out LEEP, against NumPy",
    "scores": "the other scores, against their formulas and against inference",
    "startup": "leepfrog --help, against importing typer",
    "fisher": "backward passes and task embeddings, against torch; only where it is asked for",
}
BY_DEFAULT = [name for name in BENCHMARKS if name != "fisher"]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python tests/benchmarks",
        description="A table of ratios: time of one thing by time of another, run in turn in one process.",
        epilog="\n".join(f"{name:8} {what}" for name, what in BENCHMARKS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--images", type=int, default=200, help="photographs (default %(default)s)")
    parser.add_argument("--rounds", type=int, help="paired rounds of each benchmark, else what each needs")
    parser.add_argument("--folder", type=Path, help="take the images from here, else pieces of packages' photographs")
    parser.add_argument("--only", action="append", choices=BENCHMARKS, metavar="NAME", help="one of those below")
    given = parser.parse_args()
    if given.images < 8 or (given.rounds is not None and given.rounds < 1):
        parser.error("--images must be at least 8, --rounds at least 1")

    here = Path(__file__).resolve().parent
    sys.path[:0] = [str(here), str(here.parent)]
    from material import photographs
    from paired import facts, table

    about, rows = list(facts()), []  # the load, before this program makes its own
    with photographs(given.images, given.folder) as folder:
        for name in given.only or BY_DEFAULT:
            print(f"{name}: {BENCHMARKS[name]}", file=sys.stderr, flush=True)
            benchmark = importlib.import_module(f"bench_{name}")
            rows += benchmark.rows(folder, given.rounds or benchmark.ROUNDS)
    print(*about, "", table(rows), sep="\n")


if __name__ == "__main__":
    main()
