"""Lost output is always reported (fault 9); a second Ctrl-C ends the process at once (fault 36)."""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from commands import process
from photos import folder_of_pieces

pytestmark = [pytest.mark.full, pytest.mark.skipif(os.name != "posix", reason="needs Unix pipes and signals")]

SCRIPT = Path(sys.executable).with_name("leepfrog")
# Short and long outputs; the smallest pipe buffer is one page.
LONG = [
    "--version",
    pytest.param("--help", marks=pytest.mark.slow),
    "schema",
    pytest.param("zoo list --format json", marks=pytest.mark.slow),
    "score --labels y.npy --features x.npy --format json",
]


@pytest.fixture
def arrays(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    np.save("y.npy", np.arange(30) % 3)
    np.save("x.npy", np.random.default_rng(0).normal(size=(30, 4)))
    return tmp_path


@pytest.mark.parametrize("command", LONG)
@pytest.mark.parametrize("buffered", ["", "1"])
def test_fault_09_a_full_pipe_that_does_not_block_gets_everything(command: str, buffered: str, arrays: Path) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": buffered}
    words = [SCRIPT, *command.split()]
    expected = subprocess.run(words, capture_output=True, check=True, env=environment).stdout
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    filler = b"." * 4096
    filled = 0
    try:
        while True:
            filled += os.write(writer, filler)
    except BlockingIOError:
        pass
    running = subprocess.Popen(words, stdout=writer, stderr=subprocess.PIPE, env=environment)
    os.close(writer)
    time.sleep(1)  # until it reaches the full pipe; a slower process only makes the test easier
    with open(reader, "rb") as stream:
        output = stream.read()
    assert running.wait(60) == 0, running.stderr.read()
    running.stderr.close()
    times = rb'"\w+": ("20[^"]*"|[0-9.e-]+)'  # creation times and durations of stages
    without_times = [re.sub(times, b"", text) for text in (output[filled:], expected)]
    assert without_times[0] == without_times[1]


@pytest.mark.parametrize("command", LONG)
@pytest.mark.parametrize("stdout", [">&-", ">/dev/full"])
def test_fault_09_lost_output_is_no_success(command: str, stdout: str, arrays: Path) -> None:
    if stdout.endswith("full") and not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    for further in ("", " 2>&-"):
        done = subprocess.run(
            ["sh", "-c", f"{SCRIPT} {command} {stdout}{further}"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 4, done
        assert bool(further) or ("closed" if "&-" in stdout else "No space left on device") in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("format_", ["table", "json", "csv", "md"])
def test_fault_09_nor_is_it_in_any_format(format_: str, home: Path) -> None:
    for words in (["zoo", "list"], ["doctor"]):
        done = subprocess.run(
            ["sh", "-c", f"{SCRIPT} {' '.join(words)} --format {format_} >&-"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 4, done
        assert "stdout is closed" in done.stderr


NATIVE = """
import sys, threading, time
sys.argv = ["leepfrog", "--version"]
from leepfrog.cli import main as frame, interrupts
import numpy as np

def app():
    a = np.ones((9000, 9000))
    print("started", flush=True)
    while True:
        a @ a  # seconds in native code, which Python's own handler waits for

import leepfrog.cli.app
leepfrog.cli.app.app = app
frame.main()
"""

STUBBORN = NATIVE.replace(
    "        a @ a", "        try:\n            a @ a\n        except KeyboardInterrupt:\n            pass"
)


def started(words: list[str], **options: object) -> subprocess.Popen[str]:
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # background jobs of a shell ignore SIGINT
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=heed,  # noqa: PLW1509 - no other thread runs here
        **options,
    )  # fmt: skip


def test_fault_36_a_second_ctrl_c_ends_native_code_at_once(tmp_path: Path) -> None:
    """The program ignores the first Ctrl-C and is in native code nearly all the time."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    running = started([sys.executable, "-c", STUBBORN], env=environment)
    hung = threading.Timer(60, running.kill)
    hung.start()
    assert running.stdout.readline() == "started\n"
    time.sleep(0.5)  # wait until native code runs
    running.send_signal(signal.SIGINT)
    time.sleep(0.3)
    running.send_signal(signal.SIGINT)
    begun = time.monotonic()
    _, err = running.communicate()
    hung.cancel()
    assert running.returncode == 130, err
    assert "interrupted twice" in err
    assert time.monotonic() - begun < 30


def test_fault_36_two_signals_at_the_same_moment_are_one_ctrl_c(tmp_path: Path) -> None:
    """A wrapper may forward a signal that the terminal has also sent; the process must still end in order."""
    code = (
        "import sys, time\nsys.argv = ['leepfrog']\nimport leepfrog.cli.app\n"
        "def app():\n    print('started', flush=True)\n    time.sleep(60)\n"
        "leepfrog.cli.app.app = app\nfrom leepfrog.cli.main import main\nmain()\n"
    )
    running = started([sys.executable, "-c", code])
    assert running.stdout.readline() == "started\n"
    running.send_signal(signal.SIGINT)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode in (130, -signal.SIGINT)
    assert "interrupted twice" not in err


def test_fault_36_the_first_ctrl_c_still_ends_in_order(tmp_path: Path, with_made: Path) -> None:
    photos = folder_of_pieces(tmp_path / "photos", count=30)
    running = started([str(SCRIPT), "rank", str(photos), "-m", "made", "-s", "all"])
    time.sleep(0.8)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode in (0, 130, -signal.SIGINT)
    assert running.returncode != 130 or "finished work is cached" in err
    process(["rank", photos, "-m", "made"]).check(0)


@pytest.fixture
def failing(tmp_path: Path, with_made: Path) -> Path:
    """Baseline with scores that the images in `photos` no longer reach."""
    photos, path = folder_of_pieces(tmp_path / "photos", count=4), tmp_path / "baseline.json"
    process(["rank", photos, "-m", "made", "-q", "-o", path]).check(0)
    values = json.loads(path.read_text())
    for score in values["models"][0]["scores"].values():
        score["value"] += 1
    path.write_text(json.dumps(values))
    return path


@pytest.mark.parametrize("command", ["check", "verify"])
def test_fault_09_a_gate_whose_reader_is_gone_still_fails(command: str, failing: Path, tmp_path: Path) -> None:
    words = [SCRIPT, command, failing, tmp_path / "photos", "-q"]
    assert subprocess.run(words, capture_output=True, check=False).returncode == 1
    assert without_reader(words) == 1


def test_fault_09_a_reader_that_is_gone_takes_no_other_output_with_it(with_made: Path, tmp_path: Path) -> None:
    photos = folder_of_pieces(tmp_path / "photos", count=4)
    plot = tmp_path / "front.svg"
    assert without_reader([SCRIPT, "rank", photos, "-m", "made", "-q", "--plot", plot]) == 0
    assert plot.read_text().startswith("<?xml")


def without_reader(words: list[str | Path]) -> int:
    """Return the exit code of a command whose stdout is a pipe without reader."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writer)
    assert not done.stderr
    return done.returncode
