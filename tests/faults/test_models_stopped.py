"""Models that never finish are stopped by a time limit or by Ctrl-C (fault 3); invalid limits (fault 31)."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import models_made as made
import numpy as np
import pytest
from commands import ENTRY, Done, Here, process
from leepfrog.errors import ModelError
from leepfrog.inference.device import available_threads
from leepfrog.inference.load import load
from leepfrog.inference.model import ModelFile
from machine_load import keep_costs
from onnx import ModelProto
from photos import folder_of_pieces

pytestmark = pytest.mark.full

# Seconds after which a test counts as hung; stopping takes at most two seconds on an idle machine.
HANG = 60


@pytest.fixture
def photos(home: Path, tmp_path: Path) -> Path:
    return folder_of_pieces(tmp_path / "photos", count=2, names=("cat", "coffee"))


def saved(model: ModelProto, folder: Path) -> Path:
    path = folder / "endless.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def interrupted(words: list[str | Path]) -> Done:
    """Run a command and send one Ctrl-C while its model uses the processor."""
    given = list(map(os.fspath, words))
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # background jobs of a shell ignore SIGINT
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    running = subprocess.Popen([*ENTRY, *given], preexec_fn=heed, **pipes)  # noqa: PLW1509
    try:
        until = time.monotonic() + HANG
        while used(running.pid) < used_by_imports() + 2 and time.monotonic() < until:
            assert running.poll() is None, running.communicate()
            time.sleep(0.05)
        os.killpg(running.pid, signal.SIGINT)
        out, err = running.communicate(timeout=HANG)
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
    return Done(" ".join(given), running.returncode, out, err)


def used(pid: int) -> float:
    """Return the CPU time of a process and its running children, in seconds."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK") + sum(map(used, map(int, children)))


@functools.cache
def used_by_imports() -> float:
    """Return the CPU time of a command that fails before any inference, in seconds."""
    before = sum(os.times()[2:4])
    process(["rank", "nowhere"])
    return sum(os.times()[2:4]) - before


needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="CPU time is read from /proc")


@needs_proc
@pytest.mark.parametrize("command", ["rank", "bench"])
def test_fault_03_ctrl_c_stops_an_endless_loop(command: str, photos: Path, tmp_path: Path) -> None:
    model = saved(made.endless(), tmp_path)
    done = interrupted(["rank", photos, "-m", model] if command == "rank" else ["bench", model])
    done.check(130, "interrupted")


@needs_proc
def test_fault_03_ctrl_c_stops_a_load_that_onnxruntime_cannot_stop(photos: Path, tmp_path: Path) -> None:
    interrupted(["rank", photos, "-m", saved(made.slow_to_load(), tmp_path)]).check(130, "interrupted")


@pytest.mark.parametrize("command", ["rank", "bench"])
@pytest.mark.parametrize("model", ["endless", "slow_to_load"])
def test_fault_03_a_model_that_never_ends_is_an_error(command: str, model: str, photos: Path, tmp_path: Path) -> None:
    path = saved(getattr(made, model)(), tmp_path)
    words = ["rank", photos, "-m", path] if command == "rank" else ["bench", path]
    done = process(words, env={**os.environ, "LEEPFROG_SECONDS_PER_IMAGE": "0.25"})
    done.check(3, "endless.onnx", "exceeded the limit of", "LEEPFROG_SECONDS_PER_IMAGE")


def test_fault_03_any_session_has_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions of the exporter and of probes are also created by `load`."""
    session = load(made.endless().SerializeToString())
    monkeypatch.setenv("LEEPFROG_SECONDS_PER_IMAGE", "0.05")
    with pytest.raises(ModelError, match=r"a run on 4 image\(s\) exceeded the limit of 0\.2 s"):
        session.run(None, {"image": made.images(4)})
    assert np.isfinite(load(made.scoring().SerializeToString()).run(["probs"], {"image": made.images(4)})[0]).all()


@pytest.mark.parametrize("limit", ["0", "-1", "nan", "inf", "soon"])
def test_fault_03_a_limit_that_is_no_limit(
    limit: str, photos: Path, tmp_path: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEEPFROG_SECONDS_PER_IMAGE", limit)
    done = here.call("rank", photos, "-m", saved(made.scoring(), tmp_path))
    done.check(2, "LEEPFROG_SECONDS_PER_IMAGE", "not a positive number")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_fault_03_a_forked_process_runs_models(home: Path) -> None:
    session = load(made.scoring().SerializeToString())
    image = np.zeros((1, 3, 8, 8), np.float32)
    session.run(None, {"image": image})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns about forking with threads
        child = os.fork()
    if not child:
        code = 1
        try:
            load(made.scoring().SerializeToString())
            code = 0
        finally:
            os._exit(code)
    until = time.monotonic() + HANG
    while (done := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < until:
        time.sleep(0.05)
    if done == (0, 0):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert done == (child, 0)


@pytest.mark.parametrize("variable", ["LEEPFROG_SECONDS_PER_IMAGE", "LEEPFROG_COST_SECONDS"])
@pytest.mark.parametrize("value", ["20000", "86400", "1e9", "inf", "1e400"])
def test_fault_31_times_that_are_no_limit(
    variable: str, value: str, photos: Path, with_made_model: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    done = here.call("rank", photos, "-m", with_made_model, "-q")
    most = {"LEEPFROG_SECONDS_PER_IMAGE": 86_400, "LEEPFROG_COST_SECONDS": 3_600}[variable]
    if float(value) <= most:
        done.check(0)
    else:
        done.check(2, f"{variable}: '{value}' is not a positive number of seconds, at most {most:,}")


@pytest.fixture
def with_made_model(home: Path, tmp_path: Path) -> Path:
    path = tmp_path / "made.onnx"
    path.write_bytes(made.scoring().SerializeToString())
    keep_costs([ModelFile.read(path)], available_threads())
    return path
