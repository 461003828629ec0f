"""Platforms without Linux-specific features (faults 10, 27); library calls without side effects (fault 24)."""

from __future__ import annotations

import ctypes
import errno
import importlib
import logging
import os
import random
import shutil
import signal
import sys
import threading
import types
import warnings
from pathlib import Path
from typing import Any

import leepfrog
import numpy as np
import onnxruntime
import PIL.Image
import pytest
from commands import process
from leepfrog.costs import worker
from leepfrog.files import locked
from leepfrog_exporter.export import ExportOptions, export
from libraries import torch
from photos import folder_of_pieces

# Parts of the standard library that are missing on Windows, and system files that are also missing on macOS.
MODULES = ("fcntl", "grp", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty")
ATTRIBUTES = {
    "os": ("O_NOCTTY", "O_NONBLOCK", "getuid", "mkfifo", "sched_getaffinity", "sched_setaffinity", "statvfs"),
    "signal": ("SIGALRM", "SIGHUP", "SIGKILL", "SIGPIPE", "alarm", "pthread_sigmask", "setitimer"),
}
WITHOUT_PROC = """
import os
def refusing(call):
    def refuse(path, *arguments, **options):
        text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else ""
        if text.startswith("/proc") and text != "/proc/self/maps":  # threadpoolctl reads it where Python is Linux's
            raise FileNotFoundError(2, "No such file or directory", path)
        return call(path, *arguments, **options)
    return refuse
import builtins, io
builtins.open = io.open = refusing(open)
os.open, os.scandir, os.listdir = refusing(os.open), refusing(os.scandir), refusing(os.listdir)
del os.sched_getaffinity, os.sched_setaffinity
"""
ON_WINDOWS = f"""
import sys, importlib
sys.modules.update(dict.fromkeys({MODULES}))
for module, names in {ATTRIBUTES}.items():
    for name in names:
        delattr(importlib.import_module(module), name)
"""


@pytest.mark.full
@pytest.mark.parametrize("lacking", [WITHOUT_PROC, ON_WINDOWS], ids=["files-of-proc", "modules-of-unix"])
def test_fault_10_costs_are_measured_where_linux_s_own_are_missing(
    lacking: str, tmp_path: Path, made_home: Path
) -> None:
    """Simulates macOS and Windows, which are untested according to the README."""
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "sitecustomize.py").write_text(lacking)
    shutil.copytree(made_home / "models", tmp_path / "home" / "models")
    photos = folder_of_pieces(tmp_path / "photos", count=3)
    environment = {**os.environ, "LEEPFROG_HOME": str(tmp_path / "home"), "PYTHONPATH": str(tmp_path / "path")}
    done = process(["rank", photos, "-m", "made", "--format", "json"], env=environment)
    done.check(0)
    (model,) = done.json["models"]
    assert model["cost"]["memory"] > 10_000_000
    assert model["cost"]["latency"] > 0


def test_fault_10_memory_as_windows_tells_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Kernel32:
        """Fake that fills PROCESS_MEMORY_COUNTERS at the 64-bit offsets of psapi.h."""

        class GetCurrentProcess:
            def __new__(cls) -> Any:
                return -1

        class K32GetProcessMemoryInfo:
            def __new__(cls, process: int, reference: Any, size: int) -> Any:
                assert size == 72
                ctypes.c_uint64.from_buffer(reference._obj, 8).value = 123_456_789
                return 1

    def not_there(path: Path) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(ctypes, "WinDLL", {"kernel32": Kernel32}.__getitem__, raising=False)
    monkeypatch.setattr(worker.Path, "read_text", not_there)
    monkeypatch.setattr(worker, "sys", types.SimpleNamespace(platform="win32"))
    assert worker.peak_memory() == 123_456_789


def test_fault_10_the_readme_and_the_classifiers_say_which_systems() -> None:
    root = Path(__file__).parents[2]
    readme, project = (root / "README.md").read_text(), (root / "pyproject.toml").read_text()
    assert "meant for Linux, macOS and Windows" in readme
    for system in ("POSIX :: Linux", "MacOS", "Microsoft :: Windows"):
        assert f"Operating System :: {system}" in project


@pytest.mark.parametrize("on_windows", [False, True])
def test_fault_27_a_lock_is_waited_for(on_windows: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []
    if on_windows:
        flock, flags = (unix := importlib.import_module("fcntl")).flock, unix.LOCK_EX | unix.LOCK_NB

        def locking(file: int, mode: int, count: int) -> None:
            """Fail while the lock is taken, as Windows does after ten seconds."""
            assert (mode, count) == (1, 1)
            assert os.lseek(file, 0, os.SEEK_CUR) == 0
            tries.append(file)
            try:
                flock(file, flags)
            except BlockingIOError:
                waiting.set()
                raise OSError(errno.EDEADLOCK, "Resource deadlock avoided") from None

        monkeypatch.setitem(sys.modules, "fcntl", None)
        monkeypatch.setitem(sys.modules, "msvcrt", types.SimpleNamespace(locking=locking, LK_LOCK=1))  # type: ignore[arg-type]
    waiting, order, lock = threading.Event(), [], tmp_path / "lock"

    def second() -> None:
        with locked(lock):
            order.append("second")

    with locked(lock):
        thread = threading.Thread(target=second)
        thread.start()
        assert not on_windows or waiting.wait(30)
        thread.join(0.2)
        order.append("first")
    thread.join(30)
    assert order == ["first", "second"]
    assert len(tries) >= 3 or not on_windows


def state() -> dict[str, Any]:
    """Return the process state that a library call must not change."""
    loggers = {name: logging.getLogger(name) for name in sorted(logging.root.manager.loggerDict)}
    hub: Any = importlib.import_module("huggingface_hub.constants")
    return {
        "seed of torch": torch.get_rng_state().tolist(),
        "threads of torch": torch.get_num_threads(),
        "gradients of torch": torch.is_grad_enabled(),
        "seed of NumPy": repr(np.random.get_state()),  # noqa: NPY002
        "errors of NumPy": np.geterr(),
        "seed of Python": random.getstate(),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "warnings": list(warnings.filters),
        "streams": (sys.stdin, sys.stdout, sys.stderr),
        "path": list(sys.path),
        "loggers": {name: (logger.level, list(logger.handlers), logger.disabled) for name, logger in loggers.items()},
        "root logger": (logging.root.level, list(logging.root.handlers), logging.root.manager.disable),
        "hub": hub.HF_HUB_OFFLINE,
        "largest image": PIL.Image.MAX_IMAGE_PIXELS,
        "threads": {thread.name for thread in threading.enumerate() if not thread.daemon},
    }


@pytest.mark.full
def test_fault_24_library_calls_leave_the_process_as_it_was(
    with_made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Imports add loggers and modules, so compare the state before and after a second call.
    photos = folder_of_pieces(tmp_path / "photos", count=3)
    torch.manual_seed(1234)

    def call_everything(name: str) -> None:
        leepfrog.rank(photos, ["made"])
        leepfrog.embed(photos, probe="made", name=name)
        for source in ("torchvision:mobilenet_v3_small", "timm:test_vit"):
            export(source, ExportOptions(random_weights=True, name=f"{name}-{source.split(':')[0]}"))

    def forbidden(severity: int) -> None:
        raise AssertionError(f"onnxruntime's severity for the whole process is set to {severity}")

    call_everything("first")
    monkeypatch.setattr(onnxruntime, "set_default_logger_severity", forbidden)
    before = state()
    call_everything("second")
    after = state()
    for what, value in before.items():
        assert after[what] == value, what
