"""Fault injection into real processes: full disks, read-only folders, concurrent runs and signals.

After each fault there is no traceback and no partial file, finished work is kept, and the same command can run again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import models_made as made
import numpy as np
import pytest
import tally
from commands import ENTRY, Done, heed_permissions, injected, needs_permissions, process
from leepfrog.errors import LeepfrogError
from leepfrog.inference.model import ModelFile
from leepfrog.task2vec.embedding import Embedding
from photos import folder_of_pieces

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(sys.platform == "win32", reason="needs Unix signals and mounts"),
]

KIB = 1024


@pytest.fixture
def photos(tmp_path: Path, with_made: Path) -> Path:
    return folder_of_pieces(tmp_path / "photos", count=4)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Classifier that can be exported."""
    return made.classifier().save(tmp_path / "source.onnx")


@contextlib.contextmanager
def mounted(folder: Path, size: int) -> Iterator[Path]:
    """Mount an in-memory file system of `size` bytes; skip the test if mounting is not permitted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if sys.platform != "linux" or os.getuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("simulating a full disk requires root to mount a small tmpfs")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, leave: int) -> None:
    """Fill a small file system up to the last `leave` bytes."""
    with open(folder / "filler", "wb", buffering=0) as stream:
        with contextlib.suppress(OSError):
            while True:
                stream.write(bytes(KIB))
        stream.truncate(max(0, stream.tell() - leave))


def all_whole(*folders: Path) -> None:
    """Check that every file below the folders can be read as its suffix says, and that no partial file is left."""
    for folder in folders:
        for path in (path for path in folder.rglob("*") if path.is_file()):
            assert not path.name.endswith(".part"), path
            try:
                if path.name.endswith(".onnx") and not path.name.endswith(".fisher.onnx"):
                    ModelFile.read(path)
                elif path.suffix == ".npy":
                    assert hashlib.sha256(path.read_bytes()).hexdigest().startswith(path.stem)
                elif path.suffix == ".json":
                    json.loads(path.read_bytes())
                elif path.suffix == ".npz":
                    Embedding.load(path)
            except (LeepfrogError, ValueError) as error:
                pytest.fail(f"{path}: {error}")


# ---- full disks


def test_rank_with_its_home_on_a_full_disk(photos: Path, with_made: Path, tmp_path: Path) -> None:
    expected = process(["rank", photos, "-m", "made", "--format", "json"]).json["models"][0]["scores"]["leep"]["value"]
    with mounted(tmp_path / "disk", 256 * KIB) as disk:
        shutil.copytree(with_made / "models", disk / "models")
        for leave in (0, 4 * KIB, 8 * KIB):
            fill(disk, leave)
            environment = {**os.environ, "LEEPFROG_HOME": str(disk)}
            done = process(["rank", photos, "-m", "made", "--format", "json"], env=environment)
            injected("full disk", done, 0)
            assert "No space left on device" in done.err or leave
            assert done.json["models"][0]["scores"]["leep"]["value"] == pytest.approx(expected, abs=1e-6)
            all_whole(disk)


@pytest.mark.parametrize(
    "command",
    [
        "rank PHOTOS -m made -o DISK/r.json",
        "rank PHOTOS -m made -q -o DISK/r.csv",
        "rank PHOTOS -m made --plot DISK/front.svg",
        "explain PHOTOS -m made -o DISK/r.json",
        "embed PHOTOS --probe made -o DISK/task.npz",
        "export onnx:SOURCE --preprocess unit -o DISK",
        "export onnx:SOURCE --preprocess unit -o DISK/there.onnx --force",
        "zoo list -o DISK/zoo.json",
    ],
)
def test_results_on_a_full_disk(command: str, photos: Path, source: Path, tmp_path: Path) -> None:
    """Existing files stay unchanged."""
    with mounted(tmp_path / "disk", 64 * KIB) as disk:
        for name in ("r.json", "r.csv", "front.svg", "task.npz", "there.onnx", "zoo.json"):
            (disk / name).write_text("earlier")
        fill(disk, 0)
        before = {path.name: path.read_bytes() for path in disk.iterdir()}
        words = command.replace("PHOTOS", str(photos)).replace("SOURCE", str(source)).replace("DISK", str(disk))
        done = process(words.split())
        if "--plot" in command:  # the ranking is printed first, so that a failed plot does not lose it
            assert "made" in done.out
            done = dataclasses.replace(done, out="")
        injected("full disk", done, 4, "cannot write", "No space left on device")
        assert {path.name: path.read_bytes() for path in disk.iterdir()} == before


def test_a_library_on_a_full_disk(photos: Path, tmp_path: Path) -> None:
    task = tmp_path / "task.npz"
    process(["embed", photos, "--probe", "made", "-o", task]).check(0)
    with mounted(tmp_path / "disk", 64 * KIB) as disk:
        process(["library", "add", disk / "library", task]).check(0)
        process(["embed", photos, "--probe", "made", "-o", task, "--name", "other"]).check(0)
        fill(disk, 0)
        injected("full disk", process(["library", "add", disk / "library", task]), 4, "No space left on device")
        all_whole(disk)
        assert len(list((disk / "library" / "tasks").iterdir())) == 1
        process(["library", "list", disk / "library"]).check(0)


def test_a_full_folder_for_temporary_files(photos: Path, tmp_path: Path, with_made: Path) -> None:
    """The export to int8 writes temporary files."""
    with mounted(tmp_path / "disk", 64 * KIB) as disk:
        fill(disk, 8 * KIB)  # if nothing were left, Python would choose another folder
        words = ["export", "made", "--precision", "int8", "--calibrate", photos]
        done = process(words, env={**os.environ, "TMPDIR": str(disk)})
        injected("full disk", done, 4, "No space left on device")
    assert not (with_made / "models" / "made-int8.onnx").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_stdout_on_a_full_disk(home: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([*ENTRY, "zoo", "list"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    injected("full disk", Done("zoo list", done.returncode, "", done.stderr), 4, "stdout", "No space left on device")
    injected("full disk", process(["zoo", "list", "-o", "/dev/full"]), 4, "/dev/full", "No space left on device")


# ---- read-only and impossible folders


@needs_permissions
def test_a_home_that_may_only_be_read(photos: Path, with_made: Path, source: Path) -> None:
    """Ranking works and notes that nothing is cached; commands that must write report that they cannot."""
    for folder in (with_made, *with_made.rglob("*/")):
        folder.chmod(0o555)
    bound = functools.partial(process, preexec_fn=heed_permissions)
    try:
        injected("read-only home", bound(["rank", photos, "-m", "made"]), 0, "not cached", "Permission denied")
        injected("read-only home", bound(["embed", photos, "--probe", "made", "-o", photos / "x.npz"]), 0, "not cached")
        for words in (["export", f"onnx:{source}", "--preprocess", "unit"], ["export", "made", "--precision", "fp16"]):
            injected("read-only home", bound(words), 4, "cannot write", "Permission denied")
        tally.FAULTS["read-only home"] += 1
        doctor = bound(["doctor"])
        assert doctor.code == 4
        assert "cannot be written" in doctor.out
    finally:
        for folder in (with_made, *with_made.rglob("*/")):
            folder.chmod(0o755)
    all_whole(with_made)


@pytest.mark.parametrize("nowhere", ["~nobody-here/leepfrog", "/dev/null/leepfrog", "/proc/leepfrog"])
def test_homes_that_cannot_be(nowhere: str, photos: Path, with_made: Path, source: Path) -> None:
    environment = {**os.environ, "LEEPFROG_HOME": nowhere}
    done = process(["export", f"onnx:{source}", "--preprocess", "unit"], env=environment)
    injected("impossible home", done, 4)
    if nowhere.startswith("~"):
        return
    ranked = process(["rank", photos, "-m", with_made / "models" / "made.onnx"], env=environment)
    injected("impossible home", ranked, 0, "not cached")


# ---- concurrent processes


def both(*commands: list[str | Path]) -> list[Done]:
    """Run commands concurrently."""
    running = [
        subprocess.Popen([*ENTRY, *map(os.fspath, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for words in commands
    ]
    outputs = [child.communicate(timeout=300) for child in running]
    return [
        Done(" ".join(map(os.fspath, words)), child.returncode, *output)
        for words, child, output in zip(commands, running, outputs, strict=True)
    ]


def test_two_ranks_at_once(photos: Path, with_made: Path) -> None:
    words: list[str | Path] = ["rank", photos, "-m", "made", "--format", "json"]
    for done in (results := both(words, words)):
        injected("two at once", done, 0)
    one, other = (done.json["models"][0]["scores"] for done in results)
    assert one["leep"]["value"] == pytest.approx(other["leep"]["value"], abs=1e-6)
    all_whole(with_made)
    assert process(words).json["models"][0]["n_inferred"] == 0


def test_two_exports_of_one_model_at_once(source: Path, with_made: Path) -> None:
    words: list[str | Path] = ["export", f"onnx:{source}", "--preprocess", "unit", "--probe"]
    for done in both(words, words):
        injected("two at once", done, 0, "source.onnx")
    all_whole(with_made)
    assert {path.name for path in (with_made / "models").glob("source*")} == {"source.onnx", "source.fisher.onnx"}


def test_two_additions_to_a_library_at_once(photos: Path, tmp_path: Path) -> None:
    names = ("one", "two")
    for name in names:
        process(["embed", photos, "--probe", "made", "-o", tmp_path / f"{name}.npz", "--name", name]).check(0)
        (tmp_path / f"{name}.csv").write_text(f"task,model,error\n{name},a,0.25\n")
    library = tmp_path / "library"
    commands: list[list[str | Path]] = [
        ["library", "add", library, tmp_path / f"{name}.npz", "--errors", tmp_path / f"{name}.csv"] for name in names
    ]
    for done in both(*commands):
        injected("two at once", done, 0)
    all_whole(library)
    tasks = process(["library", "list", library, "--format", "json"]).json["tasks"]
    assert {task["task"]: task["error"] for task in tasks} == {"one": 0.25, "two": 0.25}


# ---- signals


def commands(tmp_path: Path, photos: Path, source: Path) -> dict[str, list[str | Path]]:
    """Return the commands to interrupt and kill, by name."""
    task, table = tmp_path / "task.npz", tmp_path / "errors.csv"
    process(["embed", photos, "--probe", "made", "-o", task, "--name", "task"]).check(0)
    table.write_text("task,model,error\n" + "".join(f"task,model{i},0.5\n" for i in range(2000)))
    return {
        "rank": ["rank", photos, "-m", "made", "-s", "all", "-o", tmp_path / "results" / "r.json"],
        "export": ["export", f"onnx:{source}", "--preprocess", "unit", "--probe", "--force"],
        "int8": ["export", "made", "--precision", "int8", "--calibrate", photos, "--force"],
        "embed": ["embed", photos, "--probe", "made", "-o", tmp_path / "results" / "e.npz", "--tolerance", "0"],
        "library": ["library", "add", tmp_path / "library", task, "--errors", table],
    }


def duration(words: list[str | Path]) -> float:
    start = time.monotonic()
    process(words).check(0)
    return time.monotonic() - start


def signalled(words: list[str | Path], after: float, which: int) -> Done:
    """Run a command and send it a signal `after` seconds after its start."""
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs ignore SIGINT
    # As users start it, without warnings as errors: an interrupted process may leave a file open.
    command = [sys.executable, "-m", "leepfrog", *map(os.fspath, words)]
    running = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed,  # noqa: PLW1509 - no other thread runs here
        start_new_session=True,
    )
    time.sleep(after)
    with contextlib.suppress(ProcessLookupError):  # like a terminal, signal child processes too
        os.killpg(running.pid, which)
    out, err = running.communicate(timeout=120)
    return Done(" ".join(map(os.fspath, words)), running.returncode, out, err)


@pytest.mark.parametrize("name", ["rank", "export", "int8", "embed", "library"])
@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("times", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_signals_at_any_moment(
    name: str, which: signal.Signals, times: int, photos: Path, source: Path, with_made: Path, tmp_path: Path
) -> None:
    """Signal at moments from the interpreter's start, which leepfrog cannot guard, to the end; then run again."""
    words = commands(tmp_path, photos, source)[name]
    folders = (with_made, tmp_path / "library", tmp_path / "results")
    lasts = duration(words)
    moments = np.linspace(0, lasts, round(times * max(1, tally.TIMES)) + 1)[1:]
    for moment in moments:
        shutil.rmtree(with_made / "inference", ignore_errors=True)
        done = signalled(words, float(moment), which)
        tally.FAULTS[which.name] += 1
        tally.TRACEBACKS.extend([done.command] * ("Traceback" in done.err))
        assert "Traceback" not in done.err, done
        assert "internal error" not in done.err, done
        if which == signal.SIGKILL:
            assert done.code in (0, -signal.SIGKILL), done
            for part in [part for folder in folders for part in folder.rglob(".*.part")]:
                part.unlink()  # hidden; later runs remove it once it is old
        elif done.code != 0:  # 0: it ended before the signal
            # The signal itself may end Python (a shell reports this as 130 too), for example while it starts or exits.
            assert done.code in (130, -signal.SIGINT), done
            assert done.code != 130 or "interrupted; finished work is cached" in done.error
        all_whole(*folders)
    process(words).check(0)
    all_whole(*folders)
