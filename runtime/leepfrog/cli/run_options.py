"""Options shared by commands that run models, and the run context built from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any

import typer

import leepfrog
from leepfrog.cli.bars import Bars
from leepfrog.cli.completion import complete_device, complete_place
from leepfrog.cli.option_group import option_group
from leepfrog.cli.options import QuietOption
from leepfrog.costs.places import PLACES
from leepfrog.inference.choices import DEFAULT_DEVICE, HERE, KEPT

DEVICE = Annotated[
    str,
    typer.Option(
        "--device", help="cpu, cuda or another device that leepfrog doctor lists.", autocompletion=complete_device
    ),
]
SAME_DEVICE = Annotated[
    str | None,
    typer.Option("--device", help="Same as for rank (default: that of the first run).", autocompletion=complete_device),
]
THREADS = Annotated[
    int | None, typer.Option("--threads", min=1, help="Number of cores to use (default: all available).")
]
BATCH_SIZE = Annotated[
    int | None, typer.Option("--batch-size", min=1, help="Images per batch (default: depends on the device).")
]
STRICT = Annotated[bool, typer.Option("--strict", help="Fail on unreadable images instead of skipping them.")]

COSTS = Annotated[
    str,
    typer.Option(
        "--costs",
        help=f"Source of costs: {', '.join(PLACES.names())}. {HERE}: this machine, measured if not known yet; "
        f"{KEPT}: earlier measurements only.",
        autocompletion=complete_place,
    ),
]
SAME_COSTS = Annotated[
    str | None,
    typer.Option("--costs", help="Same as for rank (default: that of the first run).", autocompletion=complete_place),
]

# Annotation and default of each option.
_OPTIONS: dict[str, tuple[Any, Any]] = {
    "device": (DEVICE, DEFAULT_DEVICE),
    "threads": (THREADS, None),
    "batch_size": (BATCH_SIZE, None),
    "costs": (COSTS, HERE),
    "strict": (STRICT, False),
    "quiet": (QuietOption, False),
}
_OPTIONS_AGAIN: dict[str, tuple[Any, Any]] = {"device": (SAME_DEVICE, None), "costs": (SAME_COSTS, None)}


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """Run options given to a command; see `leepfrog.RunContext`.

    Attributes:
        quiet: whether to suppress progress and remarks.
        options: all other options given, keyed by field name of the run context.
    """

    quiet: bool
    options: dict[str, Any]

    def context(self, bars: Bars, **further: Any) -> leepfrog.RunContext:
        """Return the run context, which reports progress to these bars."""
        return leepfrog.RunContext(**self.options, **further, progress=bars)


def run_options(*names: str, again: bool = False) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that adds the named options to a command and passes them to its parameter `run`.

    Args:
        names: any of device, threads, batch_size, costs, strict, quiet.
        again: whether the command repeats an earlier run, whose device and costs are then the defaults.
    """
    known = _OPTIONS | _OPTIONS_AGAIN if again else _OPTIONS

    def made(*, quiet: bool, **values: Any) -> RunOptions:
        return RunOptions(quiet, {name: value for name, value in values.items() if value is not None})

    return option_group("run", {name: known[name] for name in names}, made)
