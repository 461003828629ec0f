"""leepfrog bench: measure the cost of models on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from leepfrog.arguments import MOST_SECONDS
from leepfrog.cli.bars import Bars
from leepfrog.cli.completion import complete_models
from leepfrog.cli.options import split_commas
from leepfrog.cli.output import remark
from leepfrog.cli.result_options import ResultOptions, result_options
from leepfrog.cli.run_options import RunOptions, run_options
from leepfrog.errors import UsageError
from leepfrog.inference.choices import HERE
from leepfrog.tables import Column, table_of

if TYPE_CHECKING:
    from leepfrog.costs.report import CostReport, MeasuredModel

# Columns that narrow terminals omit, the least important first.
LEAST = ("runs", "of the model", "MACs M", "params M", "p95", "size MB", "images/s")


@run_options("device", "threads", "costs", "quiet")
@result_options()
def bench(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            help="Same as for rank --models (default: all exported models).",
            autocompletion=complete_models,
        ),
    ] = None,
    seconds: Annotated[
        float,
        typer.Option(
            "--seconds",
            min=0.01,
            max=MOST_SECONDS,
            help="Seconds per model to time single images, and again to time batches.",
        ),
    ] = 2.0,
    *,
    out: ResultOptions,
    run: RunOptions,
) -> None:
    """Measure each model in a fresh process: latency of single images, throughput in batches of 16, peak memory.

    Runs disturbed by other programs are excluded; ~ marks values that stay in doubt, which are stored for
    ten minutes only.
    Preprocessing is not counted. The memory is that of the whole process, with onnxruntime, for single images; "of the
    model" is the part added by loading and running the model.
    """
    from leepfrog.costs.measured import measure_costs
    from leepfrog.costs.report import CostReport, MeasuredModel
    from leepfrog.inference.device import environment
    from leepfrog.inference.model_lookup import find_models

    if not seconds <= MOST_SECONDS:  # some versions of typer let NaN through
        raise UsageError(f"--seconds must be from 0.01 to {MOST_SECONDS}, not {seconds}")
    with Bars(run.quiet) as bars:
        context = run.context(bars, measure_again=True, measure_seconds=seconds).checked()
        files = find_models(split_commas(models))
        measured = measure_costs(files, context)
    rows = tuple(MeasuredModel.of(file, cost) for file, cost in zip(files, measured, strict=True))
    report = CostReport(rows, environment(context.device, context.cores))
    how = "each in a fresh process" if context.costs == HERE else f"costs of {measured[0].place_in_words}"
    headline = f"{len(rows)} models on {context.device} with {context.cores} threads, {how}"
    out.emit(render(report, headline, out), run.quiet)
    if n := sum(bool(cost.doubtful) for cost in measured):
        remark(
            f"~ in doubt: other work slowed {measured[0].place_in_words} while {n} of {len(measured)} models were "
            "measured. Times are upper bounds, images/s lower bounds. They are stored for ten minutes; measure again "
            "when the machine is idle",
            run.quiet,
        )


def render(report: CostReport, headline: str, out: ResultOptions) -> str:
    """Render a cost report."""
    from leepfrog.costs.formatting import images_per_second, megabytes, millions, milliseconds

    columns: list[Column[MeasuredModel]] = [
        Column("model", lambda row: row.model, number=False),
        Column("ms/image", lambda row: milliseconds(row, digits=2)),
        Column("p95", lambda row: milliseconds(row, "latency_p95", digits=2)),
        Column("images/s", lambda row: images_per_second(row, digits=1)),
        Column("memory MB", lambda row: megabytes(row.memory)),
        Column("of the model", lambda row: megabytes(row.memory_of_model)),
        Column("size MB", lambda row: megabytes(row.size_bytes, 1)),
        Column("params M", lambda row: millions(row.n_parameters, 1)),
        Column("MACs M", lambda row: millions(row.macs)),
        Column("runs", lambda row: str(row.n_runs)),
    ]
    table = table_of(columns, report.models, LEAST)
    # In CSV, numbers stay numbers.
    records = [
        dict(zip(table.header, (cell.removeprefix("~") for cell in cells), strict=True))
        | {"doubtful": " ".join(row.doubtful)}
        for row, cells in zip(report.models, table.rows, strict=True)
    ]
    return out.text(report, [headline, table], records)
