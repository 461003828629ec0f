"""Every command by its name. Heavy imports wait until a command runs, so that --help stays quick."""

from __future__ import annotations

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
from leepfrog.cli.room import lacking
from leepfrog.cli.root import Root
from leepfrog.errors import MachineError

app = typer.Typer(
    name="leepfrog",
    cls=Root,
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
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Which pre-trained model should I start from, for my images, on my device? Answered without training."""
    if context.invoked_subcommand not in ("doctor", "schema") and (reason := lacking()) is not None:
        raise MachineError(reason)
