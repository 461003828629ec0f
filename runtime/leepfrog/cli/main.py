"""Command-line entry point: turns exceptions into a one-line message and an exit code (see leepfrog.errors)."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings

from leepfrog.cli.interrupts import INTERRUPTED, Interrupts
from leepfrog.errors import LeepfrogError, one_line


def main() -> None:
    """Run the command line; report each error as one line and exit with its code."""
    # Drop all other Numba settings: invalid ones stop Numba, debugging ones slow it down or print to stdout.
    for name in [name for name in os.environ if name.startswith("NUMBA_") and name != "NUMBA_CACHE_DIR"]:
        del os.environ[name]
    # Pillow warns about images that it decodes anyway, or that leepfrog reports as errors.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    with Interrupts() as interrupts:
        try:
            # Import inside the try block, so that Ctrl-C during the imports is reported as one line, too.
            from leepfrog.cli.app import app
            from leepfrog.cli.output import steady_streams, write_out

            steady_streams()
            try:
                app()
            finally:  # also after --help and --version
                write_out()
        except KeyboardInterrupt:
            _fail(*_INTERRUPTION)
        except SystemExit as stop:
            if stop.code == INTERRUPTED:  # typer turns Ctrl-C into this exit code, without a message
                _fail(*_INTERRUPTION)
            _end_if_exit_fails(stop.code)
            raise
        except Exception as error:
            _fail(*(_INTERRUPTION if interrupts.seen else _message_and_code(error)))


_INTERRUPTION = "interrupted; finished work is cached, run the same command again to continue", INTERRUPTED


def _message_and_code(error: Exception) -> tuple[str, int]:
    """Return the message and the exit code for an error."""
    if isinstance(error, LeepfrogError):
        return str(error), error.exit_code
    if isinstance(error, ImportError):
        remedy = "run leepfrog doctor to find it and pip install leepfrog to fix it"
        return f"a package is missing or broken: {error}; {remedy}", 4
    if isinstance(error, MemoryError):
        return "out of memory; use smaller arrays, fewer models at once (--models) or fewer --threads", 4
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return (
            "cannot start a thread: memory or process limit reached (ulimit -v, ulimit -u), or too many --threads",
            4,
        )
    if isinstance(error, OSError):  # not handled closer to its source
        where = f": {os.fsdecode(error.filename)}" if isinstance(error.filename, str | bytes) else ""
        reason = f"{error.strerror or error}{where}"
        return f"system error: {reason} (leepfrog doctor lists the folders in use)", 4
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
    """Exit immediately where `sys.exit` would not end the process: unfinished onnxruntime calls or PYTHONINSPECT."""
    bounded = sys.modules.get("leepfrog.inference.bounded")
    stuck = bounded is not None and bounded.unfinished()
    if not stuck and not (sys.flags.inspect and os.environ.get("PYTHONINSPECT")):
        return
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code if isinstance(code, int) else bool(code))
