"""Launcher for child processes: Python modules, isolated from files in the current folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from leepfrog.errors import MachineError

# The user's Python and Numba settings could change what a module prints, or keep it from exiting.
_DROPPED = ("PYTHON", "NUMBA_")
_KEPT = ("PYTHONHOME", "PYTHONDONTWRITEBYTECODE")


def run(module: str, *arguments: str, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
    """Run a Python module with this interpreter and wait for it to exit.

    The child can import the same packages as this process, except from the current folder. Its stdin is empty.

    Args:
        module: name of the module, as in `python -m MODULE`.
        arguments: command-line arguments of the module.
        timeout: seconds before the child is killed and `subprocess.TimeoutExpired` is raised; None for no limit.

    Returns:
        Exit code, stdout and stderr of the child; bytes that are not UTF-8 become U+FFFD.

    Raises:
        MachineError: the process cannot be started.
    """
    command = [sys.executable, "-m", module, *arguments]
    try:
        process = subprocess.Popen(  # noqa: S603
            command,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
    except (OSError, TypeError) as error:  # TypeError: sys.executable may be None in a program that embeds Python
        raise MachineError(f"cannot start Python ({sys.executable}) to run {module}: {error}") from None
    with process:
        _running.add(process)
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
        finally:
            _running.discard(process)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def kill_all() -> None:
    """Kill all running children, for a program that is about to exit."""
    for process in list(_running):
        process.kill()


_running: set[subprocess.Popen[str]] = set()


def _environment() -> dict[str, str]:
    """Return the user's environment, including proxies and pip's settings, with the Python settings replaced."""
    kept = {k: v for k, v in os.environ.items() if k in _KEPT or not k.upper().startswith(_DROPPED)}
    # PYTHONSAFEPATH keeps out the current folder, which `-m` would put first on the path.
    return {**kept, "PYTHONPATH": os.pathsep.join(_import_path()), "PYTHONSAFEPATH": "1", "PYTHONUTF8": "1"}


def _import_path() -> list[str]:
    """Return `sys.path` without the current folder, however it is spelled; append leepfrog's own folder if missing."""
    try:
        here = os.path.realpath(os.curdir)
    except OSError:  # the current folder was deleted
        here = ""
    path = [folder for folder in sys.path if isinstance(folder, str) and folder and os.path.realpath(folder) != here]
    root = str(Path(__file__).parents[1])
    return path if root in path else [*path, root]
