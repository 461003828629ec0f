"""leepfrog experts: which models a library of tasks recommends for a task."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import leepfrog
from leepfrog.cli.bars import Bars
from leepfrog.cli.embed import remarks
from leepfrog.cli.options import FormatOption, OutputOption
from leepfrog.cli.output import Format, as_json, as_rows, as_table, chosen_format, emit, remark, terminal_width
from leepfrog.cli.run_options import RunOptions, run_options
from leepfrog.files import printable

if TYPE_CHECKING:
    from leepfrog.task2vec.recommend import Recommendation

HEADER = ("rank", "model", "expected regret %", "best with probability", "mean regret %", "tasks")
NUMBERS = (True, False, True, True, True, True)
# What a narrow terminal can do without, the least important first.
LEAST = (5, 4, 3)
SHOWN = 5


@run_options("device", "threads", "quiet")
def experts(
    data: Annotated[
        Path, typer.Argument(metavar="DIR|TASK.npz", help="Images, one folder a class, or what leepfrog embed made.")
    ],
    library: Annotated[Path, typer.Option("--library", "-l", help="By leepfrog library add.")],
    format_: FormatOption = None,
    output: OutputOption = None,
    *,
    run: RunOptions,
) -> None:
    """Recommend models for a task by their errors on the library's tasks that are like it.

    Expected regret is the model's error less the best model's, by the tasks nearby; the probability of being the best
    is MODEL2VEC's, which is cautious: with few tasks it differs little from model to model, and its order counts.
    Below the table stands how such choices do when each of the library's tasks is left out in turn.
    """
    from leepfrog.task2vec.embed import probe_of
    from leepfrog.task2vec.library import Library
    from leepfrog.task2vec.recommend import recommend

    written_as = chosen_format(format_, output)
    tasks = Library(library)
    if data.suffix == ".npz":
        task = leepfrog.Embedding.load(data)
    else:
        with Bars(run.quiet) as bars:
            probe = probe_of(next(tasks.embeddings()))
            task = leepfrog.embed(data, probe, context=run.context(bars))
    emit(render(recommend(task, tasks), written_as, terminal_width(output)), output, run.quiet)
    if data.suffix != ".npz":
        for line in remarks(task):
            remark(line, run.quiet)


def render(recommendation: Recommendation, written_as: Format, width: int | None = None) -> str:
    """A recommendation as text in a format; `width` is that of the terminal, for a table that fits."""
    if written_as is Format.json:
        return as_json(recommendation.as_dict())
    rows = [
        (
            str(rank), printable(expert.name), f"{100 * expert.expected_regret:.2f}", f"{expert.probability:.2f}",
            f"{100 * expert.mean_regret:.2f}", str(expert.n_tasks),
        )
        for rank, expert in enumerate(recommendation.experts, start=1)
    ]  # fmt: skip
    if written_as is not Format.table:
        return as_rows(written_as, HEADER, rows, NUMBERS)
    neighbours = [
        (printable(near.name), f"{near.distance:.3f}", printable(near.best_model or ""))
        for near in recommendation.neighbours[:SHOWN]
    ]
    parts = [
        (
            f"{printable(recommendation.task)}: nearest of {len(recommendation.neighbours)} tasks "
            f"(another sample of it would lie about {recommendation.noise:.3f} away)"
        ),
        as_table(("task", "distance", "best model"), neighbours, (False, True, False)),
    ]
    if not rows:
        parts.append("no recommendation: the library knows the errors of fewer than two models (library add --errors)")
        return "\n\n".join(parts)
    parts.append(as_table(HEADER, rows, NUMBERS, width, LEAST))
    if recommendation.judged:
        ways = ", ".join(
            f"{selector.name} {100 * selector.regret:.2f}"
            for selector in sorted(recommendation.judged, key=lambda selector: selector.regret)
        )
        parts.append(
            f"regret in % of choosing so for each task of the library, left out in turn (in at most ten parts): {ways}"
        )
    return "\n\n".join(parts)
