"""leepfrog verify: reproduce a result from its receipt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leepfrog.cli.bars import Bars
from leepfrog.cli.formats import Format
from leepfrog.cli.options import (
    CachedOption,
    ModelFilesOption,
    split_commas,
)
from leepfrog.cli.result_options import ResultOptions, result_options
from leepfrog.cli.run_options import RunOptions, run_options
from leepfrog.gate.choices import VERIFY_TOLERANCE
from leepfrog.tables import Column, Part, table_of

if TYPE_CHECKING:
    from leepfrog.gate.compare import Difference, Verification

SHOWN = 20


@run_options("device", "threads", "batch_size", "quiet", again=True)
@result_options()
def verify(
    result: Annotated[
        Path,
        typer.Argument(metavar="RESULT", help="A .json file by rank, score or validate, or an .npz file by embed."),
    ],
    data: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="Folder of the images, or of the arrays for a result of score."),
    ],
    tolerance: Annotated[
        float,
        typer.Option("--tolerance", min=0, help="Allowed absolute or relative difference of numbers."),
    ] = VERIFY_TOLERANCE,
    models: ModelFilesOption = None,
    cached: CachedOption = False,
    *,
    out: ResultOptions,
    run: RunOptions,
) -> None:
    """Reproduce a result from its receipt and compare every number. Exits with 1 if they differ.

    Times and costs are not compared, nor is the order of statistically tied models.
    """
    from leepfrog.gate.baseline import Baseline
    from leepfrog.gate.compare import compare
    from leepfrog.gate.rerun import rerun

    first = Baseline.read(result)
    with Bars(run.quiet) as bars:
        again = rerun(first, data, split_commas(models), run.context(bars), cached=cached, with_costs=False)
    verification = compare(first, again, tolerance)
    out.emit(render(verification, first.file, out), run.quiet)
    if not verification.same:
        raise typer.Exit(1)


def render(verification: Verification, where: str, out: ResultOptions) -> str:
    """Render the verification of the result in the file `where`."""
    columns: list[Column[Difference]] = [
        Column("value", lambda difference: difference.where, number=False),
        Column("was", lambda difference: _shown(difference.was)),
        Column("is", lambda difference: _shown(difference.now)),
    ]
    differences = verification.differences
    if out.format is Format.csv:
        return out.text(verification, [table_of(columns, differences)])
    parts: list[Part]
    if verification.same:
        worst = f"numbers within {verification.worst:.1e}"
        parts = [f"the same: {verification.n_compared:,} values of {where}, {worst}"]
    else:
        n, of = f"{len(differences):,}", f"{verification.n_compared:,} values of {where}"
        parts = [f"not the same: {n} of {of} differ", table_of(columns, differences[:SHOWN])]
        if len(differences) > SHOWN:
            parts.append(f"{len(differences) - SHOWN:,} more, listed with --format json")
    parts.append(
        [f"changed: {cause}" for cause in verification.causes] or ["changed: nothing recorded in the receipts"]
    )
    return out.text(verification, parts)


def _shown(value: object) -> str:
    text = f"{value:.7g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
