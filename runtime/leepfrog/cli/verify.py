"""leepfrog verify: a result run again from its receipt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leepfrog.cli.bars import Bars
from leepfrog.cli.options import (
    CachedOption,
    FormatOption,
    ModelFilesOption,
    OutputOption,
    split_commas,
)
from leepfrog.cli.output import Format, as_json, as_lines, as_rows, chosen_format, emit
from leepfrog.cli.run_options import RunOptions, run_options

if TYPE_CHECKING:
    from leepfrog.gate.compare import Verification

SHOWN = 20


@run_options("device", "threads", "batch_size", "costs", "quiet", again=True)
def verify(
    result: Annotated[
        Path, typer.Argument(metavar="RESULT", help="A .json of rank, score or validate, or a .npz of embed.")
    ],
    data: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="The images; for a result of score, its arrays' folder."),
    ],
    tolerance: Annotated[
        float,
        typer.Option("--tolerance", min=0, help="How far numbers may differ, absolutely or relatively."),
    ] = 1e-3,
    models: ModelFilesOption = None,
    format_: FormatOption = None,
    output: OutputOption = None,
    cached: CachedOption = False,
    *,
    run: RunOptions,
) -> None:
    """Run again what a result's receipt tells of, and compare number by number. Exits with 1 where they differ.

    Times and costs are not compared, nor the order of models that the images do not tell apart.
    """
    from leepfrog.gate.baseline import Baseline
    from leepfrog.gate.compare import compare
    from leepfrog.gate.rerun import rerun

    written_as = chosen_format(format_, output)
    first = Baseline.read(result)
    with Bars(run.quiet) as bars:
        again = rerun(first, data, split_commas(models), run.context(bars), cached=cached)
    verification = compare(first, again, tolerance)
    text = (
        as_json(verification.as_dict()) if written_as is Format.json else render(verification, first.where, written_as)
    )
    emit(text, output, run.quiet)
    if not verification.same:
        raise typer.Exit(1)


def render(verification: Verification, where: str, written_as: Format) -> str:
    """A verification as text."""
    rows = [
        (difference.where, _shown(difference.was), _shown(difference.now)) for difference in verification.differences
    ]
    if written_as is not Format.table:
        return as_rows(written_as, ("value", "was", "is"), rows, (False, True, True))
    if verification.same:
        lines = [f"the same: {verification.n_compared:,} values of {where}, numbers within {verification.worst:.1e}"]
    else:
        lines = [f"not the same: {len(rows):,} of {verification.n_compared:,} values of {where} differ", ""]
        lines += as_rows(written_as, ("value", "was", "is"), rows[:SHOWN], (False, True, True)).split("\n")
        lines += [f"{len(rows) - SHOWN:,} more, listed with --format json"] * (len(rows) > SHOWN) + [""]
    lines += [f"changed: {cause}" for cause in verification.causes] or ["changed: nothing that the receipts show"]
    return as_lines(lines)


def _shown(value: object) -> str:
    text = f"{value:.7g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
