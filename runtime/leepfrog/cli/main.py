"""The command line: one file a command. Heavy imports wait until a command runs, so that --help stays quick."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Annotated

import typer

import leepfrog
from leepfrog.cli import (
    bench,
    check,
    demo,
    distance,
    doctor,
    embed,
    experts,
    explain,
    export,
    library,
    map,
    rank,
    schema,
    score,
    validate,
    verify,
    zoo,
)
from leepfrog.errors import LeepfrogError

INTERRUPTED = 130
"""The exit code of a process that Ctrl-C ended: 128 and the signal's number."""

app = typer.Typer(
    name="leepfrog",
    help="Which pre-trained model should I start from, for my images, on my device? Answered without training.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(name="demo")(demo.demo)
app.command(name="rank")(rank.rank)
app.command(name="bench")(bench.bench)
app.command(name="check")(check.check)
app.command(name="verify")(verify.verify)
app.command(name="explain")(explain.explain)
app.command(name="validate")(validate.validate)
app.command(name="score")(score.score)
app.command(name="embed")(embed.embed)
app.command(name="distance")(distance.distance)
app.command(name="export")(export.export)
app.command(name="experts")(experts.experts)
app.command(name="map")(map.map_)
app.add_typer(library.app, name="library")
app.add_typer(zoo.app, name="zoo")
app.command(name="schema")(schema.schema)
app.command(name="doctor")(doctor.doctor)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(leepfrog.__version__)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Which pre-trained model should I start from, for my images, on my device? Answered without training."""


def main() -> None:
    """Run the command line; deliberate errors become one line and their exit code (see leepfrog.errors)."""
    # Pillow warns of what it then decodes all the same, or of what becomes an error of ours.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        app()
    except LeepfrogError as error:
        _fail(str(error), error.exit_code)
    except SystemExit as stop:
        if stop.code == INTERRUPTED:  # typer makes that of Ctrl-C, silently
            _fail("interrupted; what was finished is cached, run the same command to go on", INTERRUPTED)
        raise
    except ImportError as error:
        _fail(f"a package is missing or broken: {error}; leepfrog doctor shows which, pip install leepfrog mends it", 4)
    except MemoryError:
        _fail("out of memory; fewer models at once (--models) or fewer --threads need less", 4)
    except Exception as error:
        if os.environ.get("LEEPFROG_DEBUG"):
            raise
        reason = " ".join(str(error).split())
        _fail(f"internal error, please report it: {type(error).__name__}: {reason} (LEEPFROG_DEBUG=1 shows where)", 70)


def _fail(message: str, code: int) -> None:
    print(f"leepfrog: error: {message}", file=sys.stderr)  # noqa: T201
    sys.exit(code)
