"""Limits on threads and address space, and Python and Numba settings: clear errors and correct exit codes."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import leepfrog
import numpy as np
import pytest
from commands import Done, Here, process
from leepfrog.errors import UsageError
from leepfrog.execution.context import RunContext
from leepfrog.inference.device import FEWEST_ALLOWED, available_threads, check_execution, check_threads
from leepfrog.task2vec.distances import symmetric
from photos import folder_of_pieces

pytestmark = pytest.mark.full

SCRIPT = Path(sys.executable).with_name("leepfrog")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of_pieces(tmp_path_factory.mktemp("limits") / "photos", count=3)


@pytest.fixture(scope="module")
def plain_scores(photos: Path, made_home: Path, tmp_path_factory: pytest.TempPathFactory) -> object:
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(made_home / "models", home / "models")
    words = ["rank", photos, "-m", "made", "--format", "json"]
    return process(words, env={**os.environ, "LEEPFROG_HOME": str(home)}).json["models"][0]["scores"]


@pytest.fixture
def baseline(tmp_path: Path, photos: Path, with_made: Path, here: Here) -> Path:
    path = tmp_path / "base.json"
    here.call("rank", photos, "-m", "made", "-o", path).check(0)
    return path


@pytest.mark.parametrize(
    "command",
    [
        "rank PHOTOS -m made",
        "bench made",
        "explain PHOTOS -m made",
        "validate PHOTOS -m made",
        "embed PHOTOS --probe made -o task.npz",
        "check BASE PHOTOS",
        "verify BASE PHOTOS",
    ],
)
def test_fault_05_more_threads_than_a_machine_can_use_are_refused(
    command: str, photos: Path, baseline: Path, here: Here
) -> None:
    words = command.replace("PHOTOS", str(photos)).replace("BASE", str(baseline)).split()
    for threads in (10_000, 10**20) if command.startswith("rank") else (10_000,):
        here.call(*words, "--threads", str(threads)).check(2, "threads must be 1 to", f"not {threads}")


def test_fault_05_from_python_too(photos: Path, with_made: Path) -> None:
    most = max(FEWEST_ALLOWED, 4 * available_threads())
    check_execution("cpu", most)
    check_threads(None)
    for call in (
        lambda threads: check_execution("cpu", threads),
        lambda threads: symmetric(np.ones((2, 3)), threads=threads),
        lambda threads: leepfrog.rank(photos, ["made"], context=RunContext(threads=threads)),
    ):
        with pytest.raises(UsageError, match=f"must be 1 to {most} "):
            call(most + 1)
        with pytest.raises(UsageError, match="not 0"):
            call(0)


def limited(kilobytes: int) -> Callable[[], None]:
    import resource

    return functools.partial(resource.setrlimit, resource.RLIMIT_AS, (kilobytes << 10, kilobytes << 10))


# From barely enough to start Python to enough for everything, with any number of cores.
LIMITS = (200_000, 500_000, 700_000, 950_000, 1_300_000, 4_000_000)
MORE_LIMITS = (400_000, 600_000, 800_000, 1_100_000, 1_700_000)


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is heeded on Linux")
@pytest.mark.parametrize("kilobytes", [*LIMITS, *(pytest.param(n, marks=pytest.mark.slow) for n in MORE_LIMITS)])
def test_fault_06_a_limited_address_space_is_an_error_that_says_so(
    kilobytes: int, photos: Path, with_made: Path
) -> None:
    words = [sys.executable, str(SCRIPT), "rank", str(photos), "-m", "made", "-s", "all", "--format", "json"]
    done = subprocess.run(
        words, preexec_fn=limited(kilobytes), capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode == 0 and kilobytes > 1_000_000:
        assert json.loads(done.stdout)["models"][0]["name"] == "made"
    else:
        Done("rank", done.returncode, done.stdout, done.stderr).check(4, "out of memory", "ulimit -v")


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is heeded on Linux")
def test_fault_06_doctor_and_help_work_in_little_and_doctor_says_what_is_wrong(home: Path) -> None:
    for word, code in (("--version", 0), ("--help", 0), ("doctor", 4)):
        done = subprocess.run(
            [SCRIPT, word], preexec_fn=limited(500_000), capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == code, done
        assert done.stdout
    assert "raise the limit (ulimit -v)" in done.stdout


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or os.getuid() != 0, reason="needs root to become another user"
)
def test_fault_06_a_limited_number_of_threads_is_an_error_that_says_so(tmp_path: Path) -> None:
    """`bounded`, which runs onnxruntime calls in threads, as a user limited to one process."""
    code = (
        "import os, resource\n"
        "from leepfrog.inference.bounded import bounded\nfrom leepfrog.errors import MachineError\n"
        "os.setgid(65534); os.setuid(54321)\n"
        "resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))\n"
        "try:\n    bounded(lambda: 1, lambda: None, 5, 'x')\n"
        "except MachineError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "no thread can be started" in done.stdout


# The settings of a row are tested together: as all of them are ignored, none can mask another.
SETTINGS = (
    "NUMBA_NUM_THREADS=0 NUMBA_CPU_NAME=nothing NUMBA_CHROME_TRACE=trace.json OMP_NUM_THREADS=0",
    "NUMBA_NUM_THREADS=x NUMBA_OPT=9 NUMBA_DUMP_IR=1 OMP_NUM_THREADS=x OPENBLAS_NUM_THREADS=-3",
    "NUMBA_DEBUG=1 NUMBA_CACHE_LOCATOR_CLASSES=Nothing",
    "NUMBA_CACHE_DIR=/dev/null/x",
    "PYTHONIOENCODING=utf-16 PYTHONUNBUFFERED=1 LC_ALL=C",
    "PYTHONUTF8=0 PYTHONWARNINGS=always PYTHONINSPECT=1",
    "PYTHONDEVMODE=1",
    "PYTHONOPTIMIZE=2",
)


@pytest.mark.parametrize("settings", SETTINGS)
def test_fault_08_settings_of_python_and_numba_change_no_result(
    settings: str, photos: Path, made_home: Path, tmp_path: Path, plain_scores: object
) -> None:
    shutil.copytree(made_home / "models", tmp_path / "home" / "models")
    changes = dict(setting.split("=") for setting in settings.split())

    def called(*words: str) -> subprocess.CompletedProcess[bytes]:
        environment = {**os.environ, "LEEPFROG_HOME": str(tmp_path / "home"), **changes}
        return subprocess.run(
            [SCRIPT, *words], cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )

    done = called("rank", str(photos), "-m", "made", "--format", "json")
    assert done.returncode == 0, done
    assert json.loads(done.stdout.decode("utf-8"))["models"][0]["scores"] == plain_scores
    assert b"Traceback" not in done.stderr
    assert called("rank", "nothing").returncode == 3
    assert not (tmp_path / "trace.json").exists()
