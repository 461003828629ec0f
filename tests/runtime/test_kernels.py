"""Compiled kernels if the cache of their machine code cannot be written or is damaged."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import run

pytestmark = pytest.mark.full

SCORE = "import leepfrog; print(leepfrog.leep([[0.5, 0.5], [0.5, 0.5]], [0, 1]).value)"


def test_a_cache_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run(code=SCORE, NUMBA_CACHE_DIR=str(tmp_path / "file" / "cache"))
    assert (done.code, done.out[:8]) == (0, "-0.69314"), done.err


def test_a_full_disk(tmp_path: Path) -> None:
    """A file size limit makes writes fail like a full disk, even for root and without a separate file system."""
    limit = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))\n"
    done = run(code=limit + SCORE, NUMBA_CACHE_DIR=str(tmp_path))
    assert (done.code, done.out[:8]) == (0, "-0.69314"), done.err


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cache folder with machine code."""
    folder = tmp_path_factory.mktemp("compiled")
    assert run(code=SCORE, NUMBA_CACHE_DIR=str(folder)).code == 0
    return folder


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
@pytest.mark.parametrize(
    "damage", [lambda whole: b"", lambda whole: whole[: len(whole) // 2], lambda whole: b"x" + whole]
)
def test_damaged_machine_code_is_compiled_anew(
    damage: Callable[[bytes], bytes], ending: str, compiled: Path, tmp_path: Path
) -> None:
    shutil.copytree(compiled, tmp_path, dirs_exist_ok=True)
    kept = list(tmp_path.rglob(f"*.{ending}"))
    assert kept
    for path in kept:
        path.write_bytes(damage(path.read_bytes()))
    done = run(code=SCORE, NUMBA_CACHE_DIR=str(tmp_path))
    assert (done.code, done.out[:8]) == (0, "-0.69314"), done.err
