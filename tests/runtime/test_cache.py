"""The cache of model outputs: reuse, damaged entries, interrupted writes and concurrent processes."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import leepfrog
import numpy as np
import pytest
from commands import run as run_program
from leepfrog.errors import ImageError, MachineError
from leepfrog.execution.context import RunContext
from leepfrog.images.decode import Decoded, Reduction, decode_reduced
from leepfrog.inference.cache import OutputCache, cache_key
from leepfrog.inference.model_lookup import find_models
from machine_load import keep_costs
from photos import folder_of_pieces
from rankings import FAST, Listener, close, values


def test_the_second_run_takes_no_inference(two_home: Path, tmp_path: Path) -> None:
    folder = folder_of_pieces(tmp_path / "photos")
    first, second = leepfrog.rank(folder, FAST), leepfrog.rank(folder, FAST)
    assert [m.n_inferred for m in first.models] == [24, 24]
    assert [m.n_inferred for m in second.models] == [0, 0]
    assert values(first) == values(second)
    for one, other in zip(first.models, second.models, strict=True):
        assert one.cost == other.cost or one.cost.doubtful  # doubtful costs are not stored


@pytest.mark.full
def test_new_images_and_new_models_alone_are_computed(two_home: Path, tmp_path: Path) -> None:
    folder = folder_of_pieces(tmp_path / "photos")
    leepfrog.rank(folder, FAST[:1])
    shutil.copytree(folder_of_pieces(tmp_path / "more", names=("china",)) / "china", folder / "china")
    listener = Listener()
    again = leepfrog.rank(folder, FAST, context=RunContext(progress=listener))
    assert {m.name: m.n_inferred for m in again.models} == {FAST[0]: 8, FAST[1]: 32}
    assert listener.stages["inference, 2 models"] == [40, 40]
    shutil.rmtree(two_home / "inference")
    assert close(again, leepfrog.rank(folder, FAST))


def test_another_preprocessing_is_another_cache_entry(two_home: Path) -> None:
    model = find_models(FAST[:1])[0]
    spec = dataclasses.replace(model.metadata.preprocess, interpolation="nearest")
    other = dataclasses.replace(model, metadata=dataclasses.replace(model.metadata, preprocess=spec))
    assert len({cache_key(model, "cpu"), cache_key(other, "cpu"), cache_key(model, "cuda")}) == 3


@pytest.mark.parametrize("damage", ["flipped", "cut short", "emptied", "replaced"])
def test_a_damaged_cache_entry_is_computed_again_and_told(two_home: Path, tmp_path: Path, damage: str) -> None:
    folder = folder_of_pieces(tmp_path / "photos", count=3)
    first = leepfrog.rank(folder, FAST[:1])
    (shard,) = (two_home / "inference").glob("*/*.npy")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 0xFF
    damaged = {"flipped": bytes(content), "cut short": content[:-100], "emptied": b"", "replaced": b"x"}
    shard.write_bytes(damaged[damage])
    listener = Listener()
    second = leepfrog.rank(folder, FAST[:1], context=RunContext(progress=listener))
    assert second.models[0].n_inferred == 9
    assert any("damaged" in notice for notice in listener.notices)
    assert close(first, second)
    assert leepfrog.rank(folder, FAST[:1]).models[0].n_inferred == 0


@pytest.mark.full
def test_a_cache_that_cannot_be_written_costs_only_the_cache(two_home: Path, tmp_path: Path) -> None:
    folder = folder_of_pieces(tmp_path / "photos", count=3)
    shutil.rmtree(two_home / "inference")
    (two_home / "inference").write_text("a file where the folder should be")  # unlike permissions, this also stops root
    listener = Listener()
    blocked = leepfrog.rank(folder, FAST, context=RunContext(progress=listener))
    assert len([n for n in listener.notices if "not cached" in n]) == 2
    (two_home / "inference").unlink()
    assert close(blocked, leepfrog.rank(folder, FAST))


@pytest.mark.full
def test_any_number_of_shards(two_home: Path, tmp_path: Path) -> None:
    """With more shards than the process may open files, all are read and none is reported as damaged."""
    code = (
        "import sys, resource, leepfrog\n"
        "from leepfrog.inference import cache\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))\n"
        "cache.ROWS_PER_SHARD = 1\n"
        "ranking = leepfrog.rank(sys.argv[1], sys.argv[2:], context=leepfrog.RunContext(threads=1))\n"
        "print([m.n_inferred for m in ranking.models])\n"
    )
    folder = folder_of_pieces(tmp_path / "photos", count=60)
    counts = []
    for _ in range(2):
        done = run_program(folder, FAST[0], code=code)
        assert done.err == ""
        counts.append(done.out.strip())
    assert len(list((two_home / "inference").glob("*/*.npy"))) > 40
    assert counts == ["[180]", "[0]"]


def test_a_shard_that_cannot_be_read_stays(two_home: Path, tmp_path: Path) -> None:
    folder = folder_of_pieces(tmp_path / "photos", count=3)
    leepfrog.rank(folder, FAST[:1])
    (entry,) = {path.parent for path in (two_home / "inference").glob("*/*.npy")}
    (entry / "unreadable.npy").mkdir()  # unlike permissions, this also stops root
    listener = Listener()
    assert leepfrog.rank(folder, FAST[:1], context=RunContext(progress=listener)).models[0].n_inferred == 0
    assert [n for n in listener.notices if "cannot be read" in n]
    assert (entry / "unreadable.npy").is_dir()


def test_a_cache_emptied_in_use_is_an_error(two_home: Path, tmp_path: Path) -> None:
    folder = folder_of_pieces(tmp_path / "photos", count=3)
    leepfrog.rank(folder, FAST[:1])
    model = find_models(FAST[:1])[0]
    notices: list[str] = []
    cache = OutputCache(model, "cpu", notices.append)
    (shard,) = cache.folder.glob("*.npy")
    digest = np.load(shard)["digest"][0].item()
    assert digest in cache
    shard.unlink()
    assert not notices
    with pytest.raises(MachineError, match="changed while it was being used; run again"):
        list(cache.rows({digest: [0]}))
    assert len(notices) == 1


def test_an_image_that_one_model_has_cached_and_another_cannot_read(
    two_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The image is excluded for both models, so that they are scored on the same images."""
    folder = folder_of_pieces(tmp_path / "photos", count=3)
    leepfrog.rank(folder, FAST[:1])
    lost = (folder / "cat" / "00.jpg").read_bytes()

    def decode_all_but_one(content: bytes, reductions: Sequence[Reduction], white: float | None) -> list[Decoded]:
        if content == lost:
            raise ImageError("not an image any more")
        return decode_reduced(content, reductions, white)

    monkeypatch.setattr("leepfrog.images.dataset.decode_reduced", decode_all_but_one)
    both = leepfrog.rank(folder, FAST)
    assert [Path(skipped.name).name for skipped in both.skipped] == ["00.jpg"]
    assert both.n_images == 8
    monkeypatch.undo()
    monkeypatch.setenv("LEEPFROG_HOME", str(two_home))
    (folder / "cat" / "00.jpg").unlink()
    assert close(both, leepfrog.rank(folder, FAST))


def test_bad_images_are_not_counted_as_computed(two_home: Path, tmp_path: Path) -> None:
    folder = folder_of_pieces(tmp_path / "photos", count=3)
    (folder / "cat" / "text.jpg").write_text("not a picture")
    assert [leepfrog.rank(folder, FAST[:1]).models[0].n_inferred for _ in range(2)] == [9, 0]


@pytest.mark.full
def test_a_cost_that_is_none_is_measured_again(two_home: Path, tmp_path: Path) -> None:
    folder = folder_of_pieces(tmp_path / "photos", count=1)
    cost = keep_costs(find_models(FAST[:1]), threads=1)
    (kept,) = (two_home / "inference").glob("*/cost-*-1-threads.json")
    good = kept.read_text()
    latency = json.loads(good)["latency"]
    assert leepfrog.rank(folder, FAST[:1], context=RunContext(threads=1)).models[0].cost == cost
    for text in (good.replace(str(latency), "NaN"), good.replace(str(latency), "-1"), "{}", "[]", "{", ""):
        kept.write_text(text)
        assert leepfrog.rank(folder, FAST[:1], context=RunContext(threads=1)).models[0].cost != cost


RANK = "import sys, leepfrog; leepfrog.rank(sys.argv[1], sys.argv[2:])"


def test_killed_runs_lose_nothing_that_was_finished(zoo_home: Path, tmp_path: Path) -> None:
    folder = folder_of_pieces(tmp_path / "photos", count=120)
    command = [sys.executable, "-c", RANK, str(folder), *FAST]
    deadline = time.monotonic() + 60
    run = subprocess.Popen(command, start_new_session=True)
    while not list((zoo_home / "inference").glob("*/*.npy")) and time.monotonic() < deadline:
        assert run.poll() is None, "the run ended before it could be killed"
        time.sleep(0.01)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert run.returncode == -signal.SIGKILL
    kept = sum(len(OutputCache(model, "cpu", pytest.fail)) for model in find_models(FAST))
    assert kept > 0
    listener = Listener()
    resumed = leepfrog.rank(folder, FAST, context=RunContext(progress=listener))
    assert sum(m.n_inferred for m in resumed.models) == 720 - kept
    assert not listener.notices
    shutil.rmtree(zoo_home / "inference")
    assert close(resumed, leepfrog.rank(folder, FAST))


def test_what_a_killed_write_left_is_removed_when_old(two_home: Path, tmp_path: Path) -> None:
    folder = folder_of_pieces(tmp_path / "photos", count=1)
    leepfrog.rank(folder, FAST[:1])
    (entry,) = {path.parent for path in (two_home / "inference").glob("*/*.npy")}
    young, old = (entry / f".{name}.npy.1-ab.part" for name in ("young", "old"))
    young.write_bytes(b"being written by another process")
    old.write_bytes(b"left")
    os.utime(old, (0, 0))
    leepfrog.rank(folder, FAST[:1])
    assert young.exists()
    assert not old.exists()


@pytest.mark.full
def test_two_processes_fill_one_cache(two_home: Path, tmp_path: Path) -> None:
    folder = folder_of_pieces(tmp_path / "photos", count=10)
    command = [sys.executable, "-c", RANK, str(folder), FAST[0]]
    runs = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    for run in runs:
        assert run.communicate(timeout=120)[1] == b""
        assert run.returncode == 0
    model = find_models(FAST[:1])[0]
    assert OutputCache(model, "cpu", pytest.fail).folder.is_dir()
    assert leepfrog.rank(folder, FAST[:1]).models[0].n_inferred == 0
