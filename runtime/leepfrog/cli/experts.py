"""leepfrog experts: recommend models for a task from a library of tasks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import leepfrog
from leepfrog.cli.bars import Bars
from leepfrog.cli.embed import remarks
from leepfrog.cli.formats import Format
from leepfrog.cli.output import remark
from leepfrog.cli.result_options import ResultOptions, result_options
from leepfrog.cli.run_options import RunOptions, run_options
from leepfrog.tables import Column, Part, table_of

if TYPE_CHECKING:
    from leepfrog.task2vec.recommend import Expert, NearbyTask, Recommendation

# Columns that narrow terminals omit, the least important first.
LEAST = ("tasks", "mean regret %", "best with probability")
SHOWN = 5


@run_options("device", "threads", "quiet")
@result_options()
def experts(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DIR|TASK.npz", help="Folder with one subfolder of images per class, or a file by leepfrog embed."
        ),
    ],
    library: Annotated[Path, typer.Option("--library", "-l", help="Library folder written by leepfrog library add.")],
    *,
    out: ResultOptions,
    run: RunOptions,
) -> None:
    """Recommend models for a task by their errors on similar tasks of a library.

    Expected regret is the model's error minus the best model's, estimated from nearby tasks. The probability of being
    the best comes from MODEL2VEC, which is cautious: with few tasks it varies little between models, and only its order
    counts. Below the table, the ways of choosing are compared by cross-validation on the library's tasks.
    """
    from leepfrog.task2vec.embed import probe_of
    from leepfrog.task2vec.library import Library
    from leepfrog.task2vec.recommend import recommend

    tasks = Library(library)
    if data.suffix == ".npz":
        task = leepfrog.Embedding.load(data)
    else:
        with Bars(run.quiet) as bars:
            probe = probe_of(next(tasks.embeddings()))
            task = leepfrog.embed(data, probe, context=run.context(bars))
    out.emit(render(recommend(task, tasks), out), run.quiet)
    if data.suffix != ".npz":
        for line in remarks(task):
            remark(line, run.quiet)


def render(recommendation: Recommendation, out: ResultOptions) -> str:
    """Render a recommendation."""
    near: list[Column[NearbyTask]] = [
        Column("task", lambda task: task.name, number=False),
        Column("distance", lambda task: f"{task.distance:.3f}"),
        Column("best model", lambda task: task.best_model or "", number=False),
    ]
    columns: list[Column[tuple[int, Expert]]] = [
        Column("rank", lambda row: str(row[0])),
        Column("model", lambda row: row[1].name, number=False),
        Column("expected regret %", lambda row: f"{100 * row[1].expected_regret:.2f}"),
        Column("best with probability", lambda row: f"{row[1].probability:.2f}"),
        Column("mean regret %", lambda row: f"{100 * row[1].mean_regret:.2f}"),
        Column("tasks", lambda row: str(row[1].n_tasks)),
    ]
    ranked = table_of(columns, enumerate(recommendation.experts, start=1), LEAST)
    title = (
        f"{recommendation.task}: nearest of {len(recommendation.neighbours)} tasks "
        f"(distance to another sample of the same task: about {recommendation.noise:.3f})"
    )
    nothing = (
        "no recommendation: the library has the errors of fewer than two models; add some with library add --errors"
    )
    if out.format is Format.csv:
        return out.text(recommendation, [ranked])
    nearest = table_of(near, recommendation.neighbours[:SHOWN])
    parts: list[Part] = [title, nearest, ranked if ranked.rows else nothing]
    if recommendation.judged:
        ways = ", ".join(
            f"{selector.name} {100 * selector.regret:.2f}"
            for selector in sorted(recommendation.judged, key=lambda selector: selector.regret)
        )
        parts.append(
            f"regret in % of each way of choosing, on held-out tasks of the library (at most ten folds): {ways}"
        )
    return out.text(recommendation, parts)
