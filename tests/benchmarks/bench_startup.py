"""`leepfrog --help` against importing typer alone. Run: python tests/benchmarks/bench_startup.py"""

from __future__ import annotations

import subprocess
import sys

from paired import compare, machine, report


def main() -> None:
    def process(*arguments: str) -> None:
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)

    contestants = {
        "import typer": lambda: process("-c", "import typer"),
        "leepfrog --help": lambda: process("-m", "leepfrog", "--help"),
        "import leepfrog": lambda: process("-c", "import leepfrog"),
        "python -c pass": lambda: process("-c", "pass"),
    }
    print(f"start-up; {machine()}")
    report(compare(contestants, rounds=15), "import typer")


if __name__ == "__main__":
    main()
