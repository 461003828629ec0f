"""leepfrog bench: what models cost on this machine."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from leepfrog.arguments import MOST_SECONDS
from leepfrog.cli.bars import Bars
from leepfrog.cli.completion import complete_models
from leepfrog.cli.options import FormatOption, OutputOption, split_commas
from leepfrog.cli.output import Format, as_json, as_rows, as_table, chosen_format, emit, remark, terminal_width
from leepfrog.cli.run_options import RunOptions, run_options
from leepfrog.costs.places import DEFAULT
from leepfrog.errors import UsageError

HEADER = ("model", "ms/image", "p95", "images/s", "memory MB", "of the model", "size MB", "params M", "MACs M", "runs")
NUMBERS = (False, *[True] * 9)
# What a narrow terminal can do without, the least important first.
LEAST = (9, 5, 8, 7, 2, 6, 3)


@run_options("device", "threads", "costs", "quiet")
def bench(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL", help="As of rank --models (default: all exported).", autocompletion=complete_models
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.01, max=MOST_SECONDS, help="How long to time each model.")
    ] = 2.0,
    format_: FormatOption = None,
    output: OutputOption = None,
    *,
    run: RunOptions,
) -> None:
    """Measure models here and now, each in a fresh process: latency of one image, throughput of 16, peak memory.

    Runs that other programs disturb are left out; ~ marks what stays in doubt, which is not kept. Preprocessing is not
    counted. The memory is that of a whole process with onnxruntime at one image; "of the model" is what came with
    loading and running it.
    """
    from leepfrog.costs.measured import measured_costs
    from leepfrog.costs.report import CostReport, MeasuredModel
    from leepfrog.inference.device import environment
    from leepfrog.inference.model_lookup import find_models

    if not seconds <= MOST_SECONDS:  # NaN passes some versions of typer
        raise UsageError(f"--seconds must be from 0.01 to {MOST_SECONDS}, not {seconds}")
    written_as = chosen_format(format_, output)
    with Bars(run.quiet) as bars:
        context = run.context(bars, measure_again=True, measure_seconds=seconds).checked()
        files = find_models(split_commas(models))
        measured = measured_costs(files, context)
    both = list(zip(files, measured, strict=True))
    if written_as is Format.json:
        rows = tuple(
            MeasuredModel(
                **{field.name: getattr(cost, field.name) for field in dataclasses.fields(cost)},
                model=file.name,
                sha256=file.sha256,
                size_bytes=file.size,
                n_parameters=file.metadata.n_parameters,
                macs=file.metadata.macs,
            )
            for file, cost in both
        )
        emit(as_json(CostReport(rows, environment(context.device, context.cores)).as_dict()), output, run.quiet)
        return
    is_csv = written_as is Format.csv  # whose numbers stay numbers
    cells = [
        (
            file.name,
            *(
                f"{'~' if name in cost.doubtful and not is_csv else ''}{scale * getattr(cost, name):.{digits}f}"
                for name, scale, digits in (("latency", 1e3, 2), ("latency_p95", 1e3, 2), ("throughput", 1, 1))
            ),
            f"{cost.memory / 1e6:.0f}", f"{cost.memory_of_model / 1e6:.0f}", f"{file.size / 1e6:.1f}",
            f"{file.metadata.n_parameters / 1e6:.1f}",
            "" if file.metadata.macs is None else f"{file.metadata.macs / 1e6:.0f}", str(cost.n_runs),
            *([" ".join(cost.doubtful)] if is_csv else []),
        )
        for file, cost in both
    ]  # fmt: skip
    if written_as is Format.table:
        how = "each in a fresh process" if context.costs == DEFAULT else f"costs of {measured[0].where}"
        title = f"{len(cells)} models on {context.device} with {context.cores} threads, {how}"
        emit(f"{title}\n\n{as_table(HEADER, cells, NUMBERS, terminal_width(output), LEAST)}", output, run.quiet)
    else:
        header, numbers = ((*HEADER, "doubtful"), (*NUMBERS, False)) if is_csv else (HEADER, NUMBERS)
        emit(as_rows(written_as, header, cells, numbers), output, run.quiet)
    if n := sum(bool(cost.doubtful) for cost in measured):
        remark(
            f"~ in doubt: other work slowed {measured[0].where} while {n} of {len(measured)} models were measured; "
            "they take this long at most. These costs are not kept: measure them again when the machine is quiet",
            run.quiet,
        )
