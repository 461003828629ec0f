"""leepfrog rank: rank models by how well they are expected to transfer to a set of images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import leepfrog
from leepfrog.cli.amounts import amount
from leepfrog.cli.bars import Bars
from leepfrog.cli.completion import complete_goal, complete_order, complete_scores
from leepfrog.cli.options import (
    DataArgument,
    ModelsOption,
    check_distinct,
    check_output,
    split_commas,
)
from leepfrog.cli.output import finish, remark, skipped_lines, write_file
from leepfrog.cli.result_options import ResultOptions, result_options
from leepfrog.cli.run_options import RunOptions, run_options
from leepfrog.plots.figure import check_plot_path
from leepfrog.ranking.goal_names import HEAD
from leepfrog.scoring.names import SCORE_NAMES

if TYPE_CHECKING:
    from leepfrog.ranking.result import Ranking


@run_options("device", "threads", "batch_size", "costs", "strict", "quiet")
@result_options()
def rank(
    data: DataArgument,
    models: ModelsOption = None,
    goal: Annotated[
        str,
        typer.Option(
            "--goal",
            help="Intended use: head (retrain a linear head), few-shot (class means of 5 images) or finetune.",
            autocompletion=complete_goal,
        ),
    ] = HEAD,
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            help=f"Order by this score instead: combined, {', '.join(SCORE_NAMES)}.",
            autocompletion=complete_order,
        ),
    ] = None,
    scores: Annotated[
        list[str] | None,
        typer.Option(
            "--score", "-s",
            help="Additional columns: these scores, comma-separated, or all.",
            autocompletion=complete_scores,
        ),
    ] = None,
    max_latency: Annotated[
        str | None, typer.Option("--max-latency", help="Mark models that take longer per image, e.g. 20ms.")
    ] = None,
    max_size: Annotated[
        str | None, typer.Option("--max-size", help="Mark models with larger files, e.g. 10MB.")
    ] = None,
    max_memory: Annotated[
        str | None, typer.Option("--max-memory", help="Mark models whose process needs more memory, e.g. 150MB.")
    ] = None,
    race: Annotated[
        bool,
        typer.Option("--race", help="Save inference: drop models early if clearly behind or over the budget."),
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", help="Plot score against latency: .html, .png or .svg file.", callback=check_output),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report", help="Write a full report with explanations and images: .html file.", callback=check_output
        ),
    ] = None,
    *,
    out: ResultOptions,
    run: RunOptions,
) -> None:  # fmt: skip
    """Rank exported models on labeled images. Each model runs once per image, and its outputs are cached.

    Models are ordered by the accuracy to expect, on new images, of a head fitted to your images. "loss" is the expected
    number of points below the best of these models, and P(best) is the probability of being the best. "=" marks models
    that are statistically tied with the first, "*" those that no other model beats in both accuracy and latency, and
    "~" latencies disturbed by other programs. LEEP is the average log-likelihood of your labels given each model's
    predictions over its own classes: 0 is perfect, minus the label entropy is no better than knowing the class sizes.
    LOO-LEEP predicts each image from the other images only.
    """
    from leepfrog.ranking.rank import ranked_outputs

    if plot is not None:
        check_plot_path(plot, "--plot")
    if report is not None:
        from leepfrog.report.page import check_report_path

        check_report_path(report)
    budget = leepfrog.Budget(
        latency=amount(max_latency, "time", "--max-latency"),
        size=amount(max_size, "bytes", "--max-size"),
        memory=amount(max_memory, "bytes", "--max-memory"),
    )
    check_distinct(out.output, plot, report)
    request = leepfrog.RankRequest(by, tuple(split_commas(scores)), budget, race, goal)
    with Bars(run.quiet) as bars:
        ranking, outputs = ranked_outputs(request, data, split_commas(models), run.context(bars))

    def write_table() -> None:
        out.emit(render(ranking, out), run.quiet)
        for line in remarks(ranking):
            remark(line, run.quiet)

    def write_plot() -> None:
        if plot is not None:
            from leepfrog.plots.cost_front import draw_cost_front

            write_file(plot, draw_cost_front(ranking, plot.suffix.lower()), run.quiet)

    def write_report() -> None:
        if report is not None:
            from leepfrog.report.page import report_html

            write_file(report, report_html(ranking, outputs).encode(), run.quiet)

    finish(write_table, write_plot, write_report)


def render(ranking: Ranking, out: ResultOptions) -> str:
    """Render a ranking."""
    from leepfrog.ranking.records import records
    from leepfrog.ranking.table import parts

    return out.text(ranking, parts(ranking), records(ranking))


def remarks(ranking: Ranking) -> list[str]:
    """Return remarks on the table: notes, skipped images, use of the cache."""
    lines = [f"note: {note}" for note in ranking.notes]
    lines += skipped_lines([(image.name, image.reason) for image in ranking.skipped], "--format json")
    left_early = ranking.race is not None and ranking.race.dropped
    if not left_early and not any(model.n_inferred for model in ranking.models):
        lines.append("no inference needed: all outputs came from the cache")
    return lines
