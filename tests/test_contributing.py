"""The examples of CONTRIBUTING work: they are applied to a copy of the tree, and tests are run there."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from photos import folder_of_pieces

pytestmark = pytest.mark.full

ROOT = Path(__file__).parents[1]
TREE = (
    ".ci", "runtime", "exporter", "models", "tests", "pyproject.toml", "constraints.txt", "LICENSE", "README.md",
    "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "docs",
    "action.yml", "CITATION.cff", ".github", ".pre-commit-config.yaml",
)  # fmt: skip
BLOCK = re.compile(
    r"^```(?:python|markdown)\n"
    r"(?:#|<!--) ([^\s,]+)(?:, (at the end|before|after)(?: (?!-->)([^\n]+?))?)?(?: -->)?\n"
    r"(.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
BLOCKS = BLOCK.findall((ROOT / "CONTRIBUTING.md").read_text())

Run = Callable[..., str]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy of the tree, compiled files included, with every code block of CONTRIBUTING applied."""
    copy = tmp_path_factory.mktemp("tree")
    for name in TREE:
        source = ROOT / name
        shutil.copytree(source, copy / name) if source.is_dir() else shutil.copy(source, copy / name)
    for name, place, line, code in BLOCKS:
        file = copy / name
        if not place:
            assert not file.exists(), f"{name} already exists"
            file.write_text(code)
        elif not line:
            file.write_text(f"{file.read_text()}\n\n{code}")
        else:
            lines = file.read_text().splitlines(keepends=True)
            at = [i for i, text in enumerate(lines) if text.strip() == line]
            assert len(at) == 1, f"{name}: expected one line {line!r}, found {len(at)}"
            lines.insert(at[0] + (place == "after"), code)
            file.write_text("".join(lines))
    return copy


@pytest.fixture
def run(tree: Path, home: Path) -> Run:
    """Function that runs Python in the copy."""
    paths = os.pathsep.join(str(tree / name) for name in ("runtime", "exporter"))
    # Drop the variables that pytest-xdist set for this process.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}

    def run_(*command: str | Path) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "error", *map(str, command)],
            cwd=tree, env={**environment, "PYTHONPATH": paths}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run_


def test_every_block_has_a_place() -> None:
    blocks = re.findall(r"^```(?:python|markdown)$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    assert len(BLOCKS) == len(blocks) > 0


ADDED = [name for name, place, *_ in BLOCKS if name.startswith("tests/") and not place]
# Tests that additions must pass or extend: lists of names, documentation, docstrings, help.
DEMANDING = [
    *(
        f"tests/runtime/test_{name}.py"
        for name in ("completion", "devices", "docstrings", "help", "leep", "scores", "surface")
    ),
    "tests/test_documents.py",
]


@pytest.mark.parametrize("which", ["demanding", pytest.param("fast", marks=pytest.mark.slow)])
def test_fault_22_all_fast_tests_pass_with_the_examples(which: str, run: Run) -> None:
    """Run the tests of the examples and those in DEMANDING; the slow variant runs all fast tests."""
    run("docs/_generate.py")
    rules = "tests/exporter/test_gradient_rules.py"
    demanding = [*ADDED, *DEMANDING, f"{rules}::test_every_rule_is_checked_here"]
    tests = demanding if which == "demanding" else ["tests"]
    output = run("-m", "pytest", "-v", "-n", "0", "-m", "fast", "-p", "no:cacheprovider", *tests)
    assert len(ADDED) == 6
    for name in ADDED:
        assert re.search(rf"^{re.escape(name)}.* PASSED", output, re.MULTILINE), name


def test_the_examples_are_in_the_house_style(tree: Path, run: Run) -> None:
    files = {tree / name for name, *_ in BLOCKS if name.endswith(".py")}
    run("-m", "ruff", "check", "--no-cache", *files)
    run("-m", "ruff", "format", "--no-cache", "--check", *files)


def test_the_command_line_knows_them(run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.standard_normal((20, 3)))
    np.save(tmp_path / "y.npy", rng.integers(0, 2, 20))
    arrays = ("--features", tmp_path / "x.npy", "--labels", tmp_path / "y.npy")
    assert "ncm," in run("-m", "leepfrog", "score", *arrays, "--score", "ncm", "--format", "csv")
    run("-m", "leepfrog", "export", "small:any", "--random-weights", "--quiet")
    photographs = folder_of_pieces(tmp_path / "photographs", count=6)
    table = run("-m", "leepfrog", "rank", photographs, "--by", "ncm", "--quiet")
    assert "best ncm first" in table
    assert "small-random" in table
    (tmp_path / "x-images-idx3-ubyte").write_bytes(
        struct.pack(">4I", 0x803, 20, 9, 9) + rng.integers(0, 256, 20 * 81, np.uint8).tobytes()
    )
    (tmp_path / "x-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, 20) + bytes([0, 1] * 10))
    ranked = run("-m", "leepfrog", "rank", tmp_path / "x-images-idx3-ubyte", "--format", "csv", "--quiet")
    assert "small-random" in ranked
    elsewhere = run("-m", "leepfrog", "rank", photographs, "--costs", "sheet", "--quiet")
    assert "Costs are from sheet, not from this machine." in elsewhere
    assert "costs of sheet" in run("-m", "leepfrog", "bench", "small-random", "--costs", "sheet", "--quiet")


def test_this_tree_is_as_it_was() -> None:
    """The examples are not part of this tree."""
    from leepfrog.costs.places import PLACES
    from leepfrog.images.sources import sources
    from leepfrog.scoring.registry import SCORES
    from leepfrog_exporter.gradient.rules import RULES
    from leepfrog_exporter.sources import schemes

    assert not {"sheet"} & set(PLACES.names())
    assert not {"ncm"} & set(SCORES)
    assert not {"Softsign"} & set(RULES)
    assert not {"small"} & set(schemes())
    assert not any("IDX" in source.takes for source in sources())
