"""Typer application and its global options."""

from __future__ import annotations

from typing import Annotated

import typer

import leepfrog
from leepfrog.cli.address_space import shortage
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
    if context.invoked_subcommand != "doctor" and (reason := shortage()) is not None:
        raise MachineError(reason)
