"""The one way in which leepfrog starts other processes: Python modules that nothing in the current folder can touch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from leepfrog.errors import MachineError

# Settings of the user's own Python and Numba: they would change what a module prints, or keep it from ending.
_DROPPED = ("PYTHON", "NUMBA_")
_KEPT = ("PYTHONHOME", "PYTHONDONTWRITEBYTECODE")


def run(module: str, *arguments: str, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
    """Run a Python module with this interpreter, and wait until it ends.

    It finds the packages that this process finds, except in the current folder. It has no stdin.

    Args:
        module: as in `python -m MODULE`.
        arguments: for the module.
        timeout: seconds after which it is killed and `subprocess.TimeoutExpired` raised; None for no limit.

    Returns:
        Its exit code, stdout and stderr; bytes that are not UTF-8 become U+FFFD.

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
    except (OSError, TypeError) as error:  # TypeError: a program with Python inside need not name an interpreter
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
    """Kill the children that run, for a program that is about to end."""
    for process in list(_running):
        process.kill()


_running: set[subprocess.Popen[str]] = set()


def _environment() -> dict[str, str]:
    """The user's environment, such as proxies and pip's settings, with Python's part replaced."""
    kept = {k: v for k, v in os.environ.items() if k in _KEPT or not k.upper().startswith(_DROPPED)}
    # Safe path: the current folder, which `-m` would put first, stays out.
    return {**kept, "PYTHONPATH": os.pathsep.join(_import_path()), "PYTHONSAFEPATH": "1", "PYTHONUTF8": "1"}


def _import_path() -> list[str]:
    """`sys.path` without the current folder, by whatever name; leepfrog's own folder is added last if it is missing."""
    try:
        here = os.path.realpath(os.curdir)
    except OSError:  # it was deleted
        here = ""
    path = [folder for folder in sys.path if isinstance(folder, str) and folder and os.path.realpath(folder) != here]
    root = str(Path(__file__).parents[1])
    return path if root in path else [*path, root]
