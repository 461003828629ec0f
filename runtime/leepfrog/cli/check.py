"""leepfrog check: use a ranking as a regression check."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import leepfrog
from leepfrog.cli.bars import Bars
from leepfrog.cli.completion import complete_criteria
from leepfrog.cli.formats import as_json
from leepfrog.cli.options import (
    CachedOption,
    DataArgument,
    ModelFilesOption,
    OutputOption,
    check_distinct,
    split_commas,
)
from leepfrog.cli.output import emit
from leepfrog.cli.run_options import RunOptions, run_options
from leepfrog.errors import MachineError
from leepfrog.gate.choices import CRITERIA, DEFAULT_CRITERIA, LATENCY_TOLERANCE, SCORE_TOLERANCE


class CheckFormat(StrEnum):
    """Output formats of a check."""

    table = "table"
    github = "github"
    junit = "junit"
    json = "json"


@run_options("device", "threads", "batch_size", "costs", "quiet", again=True)
def check(
    baseline: Annotated[
        Path, typer.Argument(metavar="BASELINE.json", help="Ranking written by leepfrog rank DIR -o BASELINE.json.")
    ],
    data: DataArgument,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-on",
            help=f"Criteria that can fail: {', '.join(CRITERIA)} (default: {','.join(DEFAULT_CRITERIA)}).",
            autocompletion=complete_criteria,
        ),
    ] = None,
    tolerance: Annotated[
        float,
        typer.Option("--tolerance", min=0, help="Allowed change of a score, in standard errors."),
    ] = SCORE_TOLERANCE,
    latency_tolerance: Annotated[
        float, typer.Option("--latency-tolerance", min=0, help="Allowed growth of a relative latency, as a fraction.")
    ] = LATENCY_TOLERANCE,
    models: ModelFilesOption = None,
    format_: Annotated[
        CheckFormat | None,
        typer.Option("--format", help="Output format (default: by the extension of -o, .json or .xml, else table)."),
    ] = None,
    output: OutputOption = None,
    cached: CachedOption = False,
    *,
    run: RunOptions,
) -> None:
    """Rank again, compare with a baseline, and exit with 1 if a model changed. Receipts show likely causes.

    A score fails if it changes by more than the tolerance, an order if models that the baseline separated have swapped
    places, a latency (relative to a reference graph that is timed alternately) if it grows by more than its tolerance,
    and a size if the file grows by more than 1 %. A latency disturbed by other work on the machine is measured again;
    if it stays in doubt, the exit code is 4. The exit code is 2 if the baseline, all of its classes or any of its
    models are missing.
    """
    from leepfrog.gate.formats import as_github, as_junit, as_text

    check_distinct(output, baseline)
    by_ending = {".json": CheckFormat.json, ".xml": CheckFormat.junit}
    written_as = format_ or by_ending.get(output.suffix if output else "", CheckFormat.table)
    with Bars(run.quiet) as bars:
        result = leepfrog.check(
            baseline,
            data,
            models=split_commas(models),
            fail_on=split_commas(fail_on) or None,
            tolerance=tolerance,
            latency_tolerance=latency_tolerance,
            cached=cached,
            context=run.context(bars),
        )
    if written_as is CheckFormat.json:
        emit(as_json(result.as_dict()), output, run.quiet)
    else:
        write = {CheckFormat.github: as_github, CheckFormat.junit: as_junit, CheckFormat.table: as_text}[written_as]
        emit(write(result), output, run.quiet, escaped=written_as is CheckFormat.github)
    if result.failures:
        raise typer.Exit(1)
    if result.undecided:
        raise MachineError(
            f"{result.undecided[0].model}: {result.undecided[0].criterion} {result.undecided[0].message}"
        )
