"""leepfrog rank: models by how well they are expected to transfer to a folder of images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import leepfrog
from leepfrog.cli.bars import Bars
from leepfrog.cli.completion import complete_order, complete_scores
from leepfrog.cli.options import (
    DataArgument,
    FormatOption,
    ModelsOption,
    OutputOption,
    check_distinct,
    check_output,
    split_commas,
)
from leepfrog.cli.output import (
    Format,
    as_csv,
    as_json,
    as_rows,
    as_table,
    chosen_format,
    emit,
    finish,
    remark,
    terminal_width,
    write_file,
)
from leepfrog.cli.run_options import RunOptions, run_options
from leepfrog.escape import markdown
from leepfrog.plots.figure import check_plot_path
from leepfrog.scoring.names import SCORE_NAMES

if TYPE_CHECKING:
    from leepfrog.ranking.racing import Race
    from leepfrog.ranking.result import RankedModel, Ranking

# What a narrow terminal can do without, the least important first.
LEAST = (
    "p95", "memory MB", "params M", "top-1 %", "LEEP", "90 % interval", "size MB", "LOO-LEEP", "P(best)", "ms/image",
    "front", "head %",
)  # fmt: skip
LEAST_OF_DRIFTS = (8, 4, 7, 1)


@run_options("device", "threads", "batch_size", "costs", "strict", "quiet")
def rank(
    data: DataArgument,
    models: ModelsOption = None,
    by: Annotated[
        str,
        typer.Option(
            "--by",
            help=f"Score that decides the order: combined, {', '.join(SCORE_NAMES)}.",
            autocompletion=complete_order,
        ),
    ] = "combined",
    scores: Annotated[
        list[str] | None,
        typer.Option(
            "--score", "-s",
            help="Further columns, any of these scores with commas between them, or all.",
            autocompletion=complete_scores,
        ),
    ] = None,
    max_latency: Annotated[str | None, typer.Option("--max-latency", help="Budget of a run, such as 20ms.")] = None,
    max_size: Annotated[str | None, typer.Option("--max-size", help="Budget of the file, such as 10MB.")] = None,
    max_memory: Annotated[
        str | None, typer.Option("--max-memory", help="Budget of a process with the model, such as 150MB.")
    ] = None,
    race: Annotated[
        bool, typer.Option("--race", help="Drop models that are clearly behind on some of the images: less inference.")
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", help="Draw score against latency: .html, .png or .svg.", callback=check_output),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report", help="Write all of it, with reasons and images, as one page: .html.", callback=check_output
        ),
    ] = None,
    format_: FormatOption = None,
    output: OutputOption = None,
    *,
    run: RunOptions,
) -> None:  # fmt: skip
    """Rank exported models on labelled images: one inference a model and image, cached for the next time.

    The order is that of how far each model stands above the average one, in standard errors: the mean of a held-out
    linear head's likelihood (ridge), the evidence of such a head (logme) and the nearest other image (knn). "head %" is
    how often that held-out head is right. LEEP is the average log-likelihood of your labels given each model's
    predictions over its own classes: 0 is perfect, minus the label entropy is no better than knowing the class sizes.
    LOO-LEEP leaves each image out of what predicts it.
    """
    from leepfrog.ranking.budget import amount
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
    written_as = chosen_format(format_, output)
    check_distinct(output, plot, report)
    request = leepfrog.RankRequest(by, tuple(split_commas(scores)), budget, race)
    with Bars(run.quiet) as bars:
        ranking, outputs = ranked_outputs(request, data, split_commas(models), run.context(bars))

    def write_table() -> None:
        emit(render(ranking, written_as, terminal_width(output)), output, run.quiet)
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


def render(ranking: Ranking, written_as: Format, width: int | None = None) -> str:
    """A ranking as text in a format; `width` is that of the terminal, for a table that fits."""
    if written_as is Format.json:
        return as_json(ranking.as_dict())
    if written_as is Format.csv:
        return _csv(ranking)
    from leepfrog.ranking.formatting import (
        certainty_in_words,
        chance_level,
        doubts_in_words,
        drift_table,
        places_in_words,
    )

    columns = _columns(ranking)
    header = tuple(name for name, _ in columns)
    rows = [tuple(cell(model) for _, cell in columns) for model in ranking.models]
    numbers = tuple(name not in ("model", "front") for name in header)
    on_costs = [*places_in_words(ranking), *doubts_in_words(ranking)]
    if written_as is Format.md:
        return "\n\n".join([as_rows(written_as, header, rows, numbers), *map(markdown, on_costs)])
    head = (
        f"{ranking.n_images} images of {sum(map(bool, ranking.classes.values()))} classes from {ranking.data}; "
        f"best {ranking.ranked_by} first "
        f"(LEEP: 0 is perfect, {chance_level(ranking):.3f} is no better than knowing the class sizes)"
    )
    least = [header.index(name) for name in LEAST if name in header[3:]]
    parts = [head, as_table(header, rows, numbers, width, least), *certainty_in_words(ranking), *on_costs]
    if ranking.drifts:
        table = as_table(*drift_table(ranking.drifts, ranking.ranked_by), width, LEAST_OF_DRIFTS)
        parts.append(f"Variants against their float32 parents:\n\n{table}")
    if ranking.race is not None:
        parts.append(race_text(ranking.race))
    return "\n\n".join(parts)


def race_text(race: Race) -> str:
    """What racing dropped, saved and risked."""
    from leepfrog.ranking.formatting import race_outside, race_risked, race_saved, race_table

    lines = [race_saved(race)]
    if race.dropped:
        lines += ["", as_table(*race_table(race)), "", race_risked(race)]
    return "\n".join([*lines, *race_outside(race)])


def remarks(ranking: Ranking) -> list[str]:
    """What a reader of the table should know besides: notes, skipped images, the cache."""
    lines = [f"note: {note}" for note in ranking.notes]
    shown = 5
    lines += [f"skipped: {image.name}: {image.reason}" for image in ranking.skipped[:shown]]
    if len(ranking.skipped) > shown:
        lines.append(f"skipped: {len(ranking.skipped) - shown} more, listed in --format json")
    inferred = sum(model.n_inferred for model in ranking.models)
    if not inferred:
        lines.append("no inference was needed: all outputs came from the cache")
    return lines


def _columns(ranking: Ranking) -> list[tuple[str, Callable[[RankedModel], str]]]:
    """The table's columns: what decides the order and how sure it is, then LEEP, other scores, baselines, costs."""
    from leepfrog.ranking.formatting import (
        TITLES,
        head_accuracy_text,
        interval_text,
        milliseconds,
        over_budget,
        score_text,
    )

    by = ranking.ranked_by
    several = sum(model.tied_with_best for model in ranking.models) > 1

    def value(name: str) -> tuple[str, Callable[[RankedModel], str]]:
        return TITLES.get(name, name), lambda model: score_text(model, name)

    return [
        ("rank", lambda model: f"{model.rank}{'=' if several and model.tied_with_best else ' '}"),
        ("model", lambda model: model.name),
        value(by),
        ("90 % interval", lambda model: interval_text(model, by)),
        ("P(best)", lambda model: f"{model.probability_best:.2f}"),
        *([("head %", head_accuracy_text)] if "ridge" in ranking.models[0].scores else []),
        *(value(name) for name in dict.fromkeys((*TITLES, *ranking.shown)) if name != by),
        ("top-1 %", lambda model: "" if model.top1 is None else f"{model.top1:.1f}"),
        ("params M", lambda model: f"{model.n_parameters / 1e6:.1f}"),
        ("size MB", lambda model: f"{model.size_bytes / 1e6:.1f}"),
        ("ms/image", milliseconds),
        ("p95", lambda model: milliseconds(model, "latency_p95")),
        ("memory MB", lambda model: f"{model.cost.memory / 1e6:.0f}" if model.cost else ""),
        ("front", lambda model: over_budget(model) or "*" * model.on_front),
    ]


def _csv(ranking: Ranking) -> str:
    from leepfrog.ranking.records import records

    rows = records(ranking)
    return as_csv(list(rows[0]), [list(row.values()) for row in rows])
