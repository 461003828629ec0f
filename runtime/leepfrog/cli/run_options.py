"""The options of commands that run models, each written once, and the context that they make."""

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
    str, typer.Option("--device", help="cpu, cuda or another that doctor lists.", autocompletion=complete_device)
]
SAME_DEVICE = Annotated[
    str | None,
    typer.Option("--device", help="Same as for rank (default: as in the first run).", autocompletion=complete_device),
]
THREADS = Annotated[int | None, typer.Option("--threads", min=1, help="Cores to use (default: all allowed).")]
BATCH_SIZE = Annotated[int | None, typer.Option("--batch-size", min=1, help="Images per batch (default: by device).")]
STRICT = Annotated[bool, typer.Option("--strict", help="Fail on unreadable images instead of skipping them.")]

COSTS = Annotated[
    str,
    typer.Option(
        "--costs",
        help=f"Where costs come from: {', '.join(PLACES.names())}. {HERE}: this machine, measured if not known yet; "
        f"{KEPT}: earlier measurements only.",
        autocompletion=complete_place,
    ),
]
SAME_COSTS = Annotated[
    str | None,
    typer.Option("--costs", help="Same as for rank (default: as in the first run).", autocompletion=complete_place),
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
    """The run options that a command was given; see `leepfrog.RunContext`.

    Attributes:
        quiet: show no progress and no remarks.
        options: the others that were given, by the names of the context's fields.
    """

    quiet: bool
    options: dict[str, Any]

    def context(self, bars: Bars, **further: Any) -> leepfrog.RunContext:
        """The context, which draws these bars."""
        return leepfrog.RunContext(**self.options, **further, progress=bars)


def run_options(*names: str, again: bool = False) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of these names, and hand what they say to its parameter `run`.

    Args:
        names: device, threads, batch_size, costs, strict, quiet.
        again: whether the command runs a result again: device and costs are those of the first run by default.
    """
    known = _OPTIONS | _OPTIONS_AGAIN if again else _OPTIONS

    def made(*, quiet: bool, **values: Any) -> RunOptions:
        return RunOptions(quiet, {name: value for name, value in values.items() if value is not None})

    return option_group("run", {name: known[name] for name in names}, made)
