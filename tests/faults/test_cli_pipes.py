"""Named pipes, devices and endless files as inputs and outputs of every command (fault 4)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import small_calls as calls
from commands import Done, Here, at_most, process
from leepfrog import files

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in folders"),
]

INPUTS = [
    *(entry for entry in calls.parameters(Path) if entry[1] not in ("output", "plot", "report")),
    *(entry for entry in calls.parameters(str) if entry[1] in calls.NAMES_OR_FILES),
]
OUTPUTS = [entry for entry in calls.parameters(Path) if entry[1] in ("output", "plot", "report")]
ENDINGS = {"models": ".onnx", "model": ".onnx", "probe": ".fisher.onnx", "data": ".csv", "labels": ".npy"}
ENDINGS |= {"probs": ".npy", "features": ".npy", "baseline": ".json", "result": ".npz", "files": ".npz"}


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def enormous(path: Path) -> None:
    """Create a sparse file of 1 TB."""
    with open(path, "wb") as stream:
        try:
            stream.truncate(1 << 40)
        except OSError:
            pytest.skip("the file system has no files of 1 TB")


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            server.bind(f"/proc/self/fd/{folder}/{path.name}")  # the full path may exceed the limit for sockets
        finally:
            os.close(folder)


SECONDS = 60
KINDS: dict[str, Callable[[Path], None]] = {"pipe": os.mkfifo, "endless": endless}


def call(name: str, parameter: str, given: str) -> list[str]:
    """Return the words of a command with the given file; `distance` gets a second task."""
    return calls.words(name, **{parameter: [given, "b.npz"] if name == "distance" else given})


def refused(here: Here, words: str | list[str]) -> Done:
    """Call a command and check that it rejects its input without hanging."""
    with at_most(SECONDS):
        done = here.call(*(words.split() if isinstance(words, str) else words))
    done.check(done.code)
    assert done.code in (2, 3, 4), done
    return done


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "parameter"), INPUTS)
def test_fault_04_named_pipes_as_inputs(name: str, parameter: str, kind: str, furnished: Here) -> None:
    given = f"given{ENDINGS.get(parameter, '')}"
    KINDS[kind](furnished.folder / given)
    assert "given" in refused(furnished, call(name, parameter, given)).error


@pytest.mark.parametrize("kind", KINDS)
def test_fault_04_named_pipes_within_folders(kind: str, furnished: Here, home: Path) -> None:
    """In the models folder, next to a model, in a library, in a folder of arrays."""
    put, here = KINDS[kind], furnished
    put(home / "models" / "pipe.onnx")
    for words in ("rank photos", "bench --seconds 0.01", "validate photos", "explain photos -m pipe"):
        assert "pipe.onnx" in refused(here, words).error
    (here.folder / "other").mkdir()
    put(here.folder / "other" / "pipe.onnx")
    assert "pipe.onnx" in refused(here, "rank photos -m other").error
    (home / "models" / "made.fisher.onnx").unlink()
    put(home / "models" / "made.fisher.onnx")
    refused(here, "embed photos --probe made -o x.npz")
    put(here.folder / "tasks" / "tasks" / "0.npz")
    for words in ("library list tasks", "experts a.npz -l tasks", "map tasks -o x.svg", "library add tasks a.npz"):
        assert "0.npz" in refused(here, words).error
    (here.folder / "tasks" / "tasks" / "0.npz").unlink()
    put(here.folder / "tasks" / "errors.csv")
    assert "errors.csv" in refused(here, "library list tasks").error
    (here.folder / "arrays").mkdir()
    here.call(*calls.words("score", output="arrays/s.json")).check(0)
    for array in ("labels", "probs", "features"):
        put(here.folder / "arrays" / f"{array}.npy")
    assert ".npy" in refused(here, "verify arrays/s.json arrays").error


@pytest.mark.parametrize("kind", KINDS)
def test_fault_04_named_pipes_in_the_cache(kind: str, furnished: Here, home: Path) -> None:
    """Unusable cache files are ignored, and everything is computed again."""
    for path in [*home.glob("inference/*/*.npy"), *home.glob("inference/*/cost-*.json")]:
        path.unlink()
        KINDS[kind](path)
    with at_most(SECONDS):
        done = furnished.call("rank", "photos", "-m", "made", "--format", "json")
    done.check(0)
    assert "not a regular file" in done.err
    assert done.json["models"][0]["n_inferred"] == 18


def test_fault_04_enormous_files(furnished: Here) -> None:
    for name, parameter in INPUTS:
        if parameter not in ("data", "calibrate", "library"):  # folders, and tables read line by line
            given = f"given{ENDINGS.get(parameter, '')}"
            enormous(furnished.folder / given)
            assert "given" in refused(furnished, call(name, parameter, given)).error
            (furnished.folder / given).unlink()


def test_fault_04_downloads_and_locks(furnished: Here, home: Path) -> None:
    os.mkfifo(furnished.folder / "tasks" / ".lock")
    assert ".lock" in refused(furnished, "library add tasks a.npz --errors errors.csv").error


def test_fault_04_a_shell_s_pipe(furnished: Here) -> None:
    """`<(...)` and stdin are pipes too: rejected with one line, even if no data arrives."""
    check = f"{sys.executable} -m leepfrog check"
    for words in ("<(cat ranking.json) photos", "/dev/stdin photos < <(sleep 20 2>/dev/null)"):
        with at_most(SECONDS):
            done = subprocess.run(
                ["bash", "-c", f"{check} {words}"], capture_output=True, text=True, check=False, cwd=furnished.folder
            )
        assert (done.returncode, done.stdout) == (2, ""), done
        assert "not a regular file" in done.stderr


def test_fault_04_what_is_no_regular_file(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.write_bytes(b"12345")
    assert (
        files.read_regular(small, 9)
        == files.read_regular(small, 5)
        == files.read_regular(str(small), files.LARGEST_TEXT)
        == b"12345"
    )
    assert files.read_regular("/proc/self/status", 1 << 20).startswith(b"Name:") or sys.platform != "linux"
    os.mkfifo(tmp_path / "pipe")
    listening(tmp_path / "socket") if sys.platform == "linux" else None
    with at_most(20):
        for other in ("pipe", "socket", "/dev/zero", "/dev/null", "absent", "nul\0nul", "."):
            with pytest.raises(OSError, match=r"\S"):
                files.read_regular(tmp_path / other, 10)
    with pytest.raises(OSError, match="larger than the limit of 4 bytes"):
        files.read_regular(small, 4)


@pytest.mark.parametrize(("name", "parameter"), OUTPUTS)
def test_fault_04_named_pipes_as_outputs(name: str, parameter: str, furnished: Here) -> None:
    """Opening a pipe for writing would block until it has a reader."""
    ending = {"plot": ".svg", "report": ".html"}.get(
        parameter, {"embed": ".npz", "map": ".svg", "export": ".onnx"}.get(name, ".json")
    )
    given = furnished.folder / f"given{ending}"
    os.mkfifo(given)
    with at_most(SECONDS):
        done = furnished.call(*calls.words(name, **{parameter: given.name}))
    assert done.code in (2, 4), done
    assert given.is_fifo()
    assert "given" in done.error
    given.unlink()
    given.mkdir()
    done = furnished.call(*calls.words(name, **{parameter: given.name}))
    assert done.code in (2, 4), done
    assert not done.out
    assert not any(given.iterdir())


def test_fault_04_pipes_and_devices_that_are_read(here: Here, home: Path) -> None:
    leepfrog = f"{sys.executable} -m leepfrog schema -q"
    whole = subprocess.run(leepfrog.split(), capture_output=True, check=True).stdout
    (here.folder / "log").write_text("before\n")
    for line in (
        f"{leepfrog} -o /dev/stdout | cat",
        f"{leepfrog} -o >(cat)",
        f"mkfifo pipe; cat pipe & sleep 0.2; {leepfrog} -o pipe; wait",
        f"{leepfrog} -o /dev/stdout >> log; tail -n +2 log",
        f"{leepfrog} -o /dev/null; {leepfrog}",
    ):
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {line}; wait"], capture_output=True, timeout=60, check=False
        )
        assert done.stderr == b"", line
        assert done.stdout == whole, line
    assert (here.folder / "log").read_text().startswith("before\n")
    process(["schema", "-o", "/dev/full"]).check(4, "/dev/full")
