"""The command line's frame: what a command raises becomes one line and an exit code (see leepfrog.errors)."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings

from leepfrog.errors import LeepfrogError

INTERRUPTED = 130
"""The exit code of a process that Ctrl-C ended: 128 and the signal's number."""


def main() -> None:
    """Run the command line; deliberate errors become one line and their exit code."""
    # Pillow warns of what it then decodes all the same, or of what becomes an error of ours.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    sys.unraisablehook = _unraisable
    try:
        # Imported here, so that Ctrl-C at any moment is one line too.
        from leepfrog.cli.app import app
        from leepfrog.cli.output import steady_streams

        steady_streams()
        app()
    except LeepfrogError as error:
        _fail(str(error), error.exit_code)
    except SystemExit as stop:
        if stop.code == INTERRUPTED:  # typer makes that of Ctrl-C, silently
            _interrupted()
        raise
    except KeyboardInterrupt:
        _interrupted()
    except ImportError as error:
        _fail(f"a package is missing or broken: {error}; leepfrog doctor shows which, pip install leepfrog mends it", 4)
    except MemoryError:
        _fail("out of memory; smaller arrays, fewer models at once (--models) or fewer --threads need less", 4)
    except OSError as error:  # what no one nearer to it knew how to explain
        where = f": {os.fsdecode(error.filename)}" if isinstance(error.filename, str | bytes) else ""
        _fail(f"the machine refuses: {error.strerror or error}{where} (leepfrog doctor shows where things are kept)", 4)
    except Exception as error:
        if os.environ.get("LEEPFROG_DEBUG"):
            raise
        reason = " ".join(str(error).split())
        _fail(f"internal error, please report it: {type(error).__name__}: {reason} (LEEPFROG_DEBUG=1 shows where)", 70)


def _unraisable(what: sys.UnraisableHookArgs) -> None:
    """Ctrl-C while Python runs a destructor or a callback of its own, which would print a traceback and go on."""
    if what.exc_type is KeyboardInterrupt:
        # Again, once this callback is over: within it, it would be lost in the same way.
        threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(what)


def _interrupted() -> None:
    _fail("interrupted; what was finished is cached, run the same command to go on", INTERRUPTED)


def _fail(message: str, code: int) -> None:
    from leepfrog.cli.output import remark
    from leepfrog.files import printable

    remark(f"leepfrog: error: {printable(message)}")
    sys.exit(code)
