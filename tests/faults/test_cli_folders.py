"""Unreadable folders: cache, models, libraries (fault 32)."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Here, heed_permissions, needs_permissions, process

pytestmark = [pytest.mark.full, needs_permissions]

bound = functools.partial(process, preexec_fn=heed_permissions)


@contextlib.contextmanager
def closed(*paths: Path) -> Iterator[None]:
    """Remove all permissions of the paths within the block."""
    modes = [path.stat().st_mode for path in paths]
    for path in paths:
        path.chmod(0)
    try:
        yield
    finally:
        for path, mode in zip(paths, modes, strict=True):
            path.chmod(mode)


@pytest.mark.parametrize("which", ["whole", "one model's", "its files"])
def test_fault_32_an_unreadable_cache_is_done_without(which: str, furnished: Here, home: Path) -> None:
    entry = next(home.glob("inference/*/*.npy")).parent
    paths = {"whole": [home / "inference"], "one model's": [entry], "its files": [*entry.iterdir()]}[which]
    with closed(*paths):
        ill = bound(["doctor", "--format", "json"], cwd=furnished.folder)
        done = bound(["rank", "photos", "-m", "made", "--format", "json"], cwd=furnished.folder)
        done.check(0)
    assert done.json["models"][0]["n_inferred"] == 18
    assert "cannot be read" in done.err
    assert "computed again" in done.err
    assert "measured again" in done.err
    assert ill.code == 4
    assert any(
        f"{paths[0]} cannot be read (Permission denied)" in problem for problem in json.loads(ill.out)["problems"]
    )
    well = bound(["doctor"], cwd=furnished.folder)
    well.check(0, "no problems found")


def test_fault_32_an_unreadable_models_folder_is_not_an_empty_one(furnished: Here, home: Path) -> None:
    with closed(home / "models"):
        for words in (
            "rank photos",
            "bench",
            "explain photos -m made",
            "zoo list",
            "embed photos --probe made -o x.npz",
        ):
            done = bound(words.split(), cwd=furnished.folder)
            done.check(4, f"{home / 'models'}", "Permission denied")
        bound(["rank", "photos", "-m", "twin.onnx"], cwd=furnished.folder).check(4, "Permission denied")
        assert bound(["doctor"], cwd=furnished.folder).code == 4


def test_fault_32_other_unreadable_folders(furnished: Here) -> None:
    (furnished.folder / "others").mkdir()
    tasks = furnished.folder / "tasks" / "tasks"
    with closed(furnished.folder / "others", tasks):
        bound(["rank", "photos", "-m", "others"], cwd=furnished.folder).check(3, "others", "Permission denied")
        for words in ("library list tasks", "map tasks -o x.svg", "experts a.npz -l tasks", "library add tasks a.npz"):
            bound(words.split(), cwd=furnished.folder).check(3, "tasks: cannot be read", "Permission denied")


def test_fault_32_doctor_finds_what_rank_cannot_write(furnished: Here, home: Path) -> None:
    (home / "inference").chmod(0o500)
    done = bound(["doctor"], cwd=furnished.folder)
    (home / "inference").chmod(0o700)
    assert done.code == 4
    assert f"{home / 'inference'} cannot be written" in done.out
