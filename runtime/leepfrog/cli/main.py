"""The command line's frame: what a command raises becomes one line and an exit code (see leepfrog.errors)."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings

from leepfrog.cli.interrupts import Interrupts
from leepfrog.errors import LeepfrogError, one_line

INTERRUPTED = 130
"""The exit code of a process that Ctrl-C ended: 128 and the signal's number."""


def main() -> None:
    """Run the command line; deliberate errors become one line and their exit code."""
    # Pillow warns of what it then decodes all the same, or of what becomes an error of ours.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    with Interrupts() as interrupts:
        try:
            # Imported here, so that Ctrl-C at any moment is one line too.
            from leepfrog.cli.app import app
            from leepfrog.cli.output import steady_streams

            steady_streams()
            app()
        except KeyboardInterrupt:
            _fail(*_INTERRUPTION)
        except SystemExit as stop:
            if stop.code == INTERRUPTED:  # typer makes that of Ctrl-C, silently
                _fail(*_INTERRUPTION)
            raise
        except Exception as error:
            _fail(*(_INTERRUPTION if interrupts.seen else _told(error)))


_INTERRUPTION = "interrupted; what was finished is cached, run the same command to go on", INTERRUPTED


def _told(error: Exception) -> tuple[str, int]:
    """What is said of an error, and its exit code."""
    if isinstance(error, LeepfrogError):
        return str(error), error.exit_code
    if isinstance(error, ImportError):
        remedy = "leepfrog doctor shows which, pip install leepfrog mends it"
        return f"a package is missing or broken: {error}; {remedy}", 4
    if isinstance(error, MemoryError):
        return "out of memory; smaller arrays, fewer models at once (--models) or fewer --threads need less", 4
    if isinstance(error, OSError):  # what no one nearer to it knew how to explain
        where = f": {os.fsdecode(error.filename)}" if isinstance(error.filename, str | bytes) else ""
        reason = f"{error.strerror or error}{where}"
        return f"the machine refuses: {reason} (leepfrog doctor shows where things are kept)", 4
    if os.environ.get("LEEPFROG_DEBUG"):
        raise error
    reason = one_line(error, None)
    told = f"internal error, please report it: {type(error).__name__}: {reason} (LEEPFROG_DEBUG=1 shows where)"
    return told, 70


def _fail(message: str, code: int) -> None:
    from leepfrog.cli.output import remark
    from leepfrog.files import printable

    remark(f"leepfrog: error: {printable(message)}")
    _end_if_stuck(code)
    sys.exit(code)


def _end_if_stuck(code: int) -> None:
    """End the process at once where onnxruntime will not give a thread back: an ordinary exit would wait, or crash."""
    bounded = sys.modules.get("leepfrog.inference.bounded")
    if bounded is not None and bounded.unfinished():
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
