"""Restricted environments in real processes: closed streams, ASCII output, one core, no terminal, little memory."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tally
from commands import ENTRY, Done, injected, process
from photos import folder_of_pieces

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(sys.platform == "win32", reason="requires a Unix shell and resource limits"),
]


@pytest.fixture
def photos(tmp_path: Path, with_made: Path) -> Path:
    return folder_of_pieces(tmp_path / "photos", count=4)


@pytest.mark.parametrize("command", ["zoo list", "rank PHOTOS -m made --format json", "rank PHOTOS -m made"])
def test_a_reader_that_leaves(command: str, photos: Path) -> None:
    words = " ".join([*ENTRY, *command.replace("PHOTOS", str(photos)).split()])
    for reader in ("| head -1", "| true", "2>&1 | true", "2>&1 | head -c 1"):
        script = ["bash", "-c", f"set -o pipefail; {words} {reader}"]
        done = subprocess.run(script, capture_output=True, text=True, check=False)
        injected("closed stream", Done(f"{command} {reader}", done.returncode, "", done.stderr), 0)


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- 2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed(closed: str, photos: Path, tmp_path: Path) -> None:
    """A result that cannot be printed is an error; result files are correct and contain no other output."""
    result = tmp_path / "r.json"
    for words, code in ((f"rank {photos} -m made -o {result}", 0), ("zoo list", 4 if ">&-" in closed.split() else 0)):
        script = f"{' '.join(ENTRY)} {words} {closed}"
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
        tally.FAULTS["closed stream"] += 1
        assert done.returncode == code, done
        assert "Traceback" not in done.stderr
        assert "internal error" not in done.stderr
    assert json.loads(result.read_text())["kind"] == "ranking"


def test_errors_nobody_can_read(home: Path) -> None:
    for closed in ("2>&-", "2>/dev/full"):
        if closed.endswith("full") and not os.path.exists("/dev/full"):
            continue
        script = f"{' '.join(ENTRY)} score --labels nowhere.npy --probs nowhere.npy {closed}"
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
        tally.FAULTS["closed stream"] += 1
        assert (done.returncode, done.stdout, done.stderr) == (3, "", "")


def test_text_that_a_stream_cannot_take(tmp_path: Path, with_made: Path) -> None:
    photos = folder_of_pieces(tmp_path / "photos", count=3)
    os.rename(photos / "cat", photos / "\u732b")
    words = ["explain", photos, "-m", "made", "--format", "json"]
    done = process(words, env={**os.environ, "PYTHONIOENCODING": "ascii"}, encoding="utf-8")
    injected("narrow encoding", done, 0)
    assert "\u732b" in {row["name"] for row in done.json["classes"]}


def on_one_core() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="requires CPU affinity")
@pytest.mark.parametrize("start", [on_one_core, os.setsid])
def test_one_core_and_no_terminal(start: Callable[[], None], photos: Path) -> None:
    words = ["rank", photos, "-m", "made", "-s", "all", "--format", "json"]
    expected = process(words).json["models"][0]["scores"]
    done = process(words, preexec_fn=start, stdin=subprocess.DEVNULL)
    injected("one core, no terminal", done, 0)
    assert "\x1b" not in done.out + done.err
    for name, score in done.json["models"][0]["scores"].items():
        assert score["value"] == pytest.approx(expected[name]["value"], rel=1e-5, abs=1e-6)


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is enforced on Linux only")
def test_little_memory(tmp_path: Path, home: Path) -> None:
    import resource

    np.save(tmp_path / "y.npy", np.arange(20_000) % 3)
    np.save(tmp_path / "x.npy", np.zeros((20_000, 2_000), np.float32))
    limit = functools.partial(resource.setrlimit, resource.RLIMIT_AS, (1000 << 20, 1000 << 20))
    words = ["score", "--labels", tmp_path / "y.npy", "--features", tmp_path / "x.npy", "-s", "h_score"]
    done = process(words, preexec_fn=limit, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"})
    injected("little memory", done, 4, "memory")
