"""The command line's frame: what a command raises becomes one line and an exit code (see leepfrog.errors)."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings

from leepfrog.cli.interrupts import INTERRUPTED, Interrupts
from leepfrog.errors import LeepfrogError, one_line


def main() -> None:
    """Run the command line; deliberate errors become one line and their exit code."""
    # Numba's other settings, when invalid or for debugging, stop it, slow it down or print to stdout.
    for name in [name for name in os.environ if name.startswith("NUMBA_") and name != "NUMBA_CACHE_DIR"]:
        del os.environ[name]
    # Pillow warns of what it then decodes all the same, or of what becomes an error of ours.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    with Interrupts() as interrupts:
        try:
            # Imported here, so that Ctrl-C at any moment is one line too.
            from leepfrog.cli.app import app
            from leepfrog.cli.output import steady_streams, write_out

            steady_streams()
            try:
                app()
            finally:  # of --help and --version, too
                write_out()
        except KeyboardInterrupt:
            _fail(*_INTERRUPTION)
        except SystemExit as stop:
            if stop.code == INTERRUPTED:  # typer makes that of Ctrl-C, silently
                _fail(*_INTERRUPTION)
            _end_if_exit_fails(stop.code)
            raise
        except Exception as error:
            _fail(*(_INTERRUPTION if interrupts.seen else _message_and_code(error)))


_INTERRUPTION = "interrupted; what was finished is cached, run the same command to go on", INTERRUPTED


def _message_and_code(error: Exception) -> tuple[str, int]:
    """What is said of an error, and its exit code."""
    if isinstance(error, LeepfrogError):
        return str(error), error.exit_code
    if isinstance(error, ImportError):
        remedy = "leepfrog doctor shows which, pip install leepfrog mends it"
        return f"a package is missing or broken: {error}; {remedy}", 4
    if isinstance(error, MemoryError):
        return "out of memory; smaller arrays, fewer models at once (--models) or fewer --threads need less", 4
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return (
            "no thread can be started: a limit on memory or processes (ulimit -v, ulimit -u) or too many --threads",
            4,
        )
    if isinstance(error, OSError):  # what no one nearer to it knew how to explain
        where = f": {os.fsdecode(error.filename)}" if isinstance(error.filename, str | bytes) else ""
        reason = f"{error.strerror or error}{where}"
        return f"the machine refuses: {reason} (leepfrog doctor shows where things are kept)", 4
    if os.environ.get("LEEPFROG_DEBUG"):
        raise error
    reason = one_line(error, None)
    message = f"internal error, please report it: {type(error).__name__}: {reason} (LEEPFROG_DEBUG=1 shows where)"
    return message, 70


def _fail(message: str, code: int) -> None:
    from leepfrog.cli.output import remark
    from leepfrog.files import printable

    remark(f"leepfrog: error: {printable(message)}")
    _end_if_exit_fails(code)
    sys.exit(code)


def _end_if_exit_fails(code: object) -> None:
    """End the process at once where `sys.exit` would not: onnxruntime keeps a thread, or Python is to go on (-i)."""
    bounded = sys.modules.get("leepfrog.inference.bounded")
    stuck = bounded is not None and bounded.unfinished()
    if not stuck and not (sys.flags.inspect and os.environ.get("PYTHONINSPECT")):
        return
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code if isinstance(code, int) else bool(code))
