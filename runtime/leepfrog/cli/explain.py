"""leepfrog explain: why a model gets its LEEP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

import leepfrog
from leepfrog.cli.bars import Bars
from leepfrog.cli.completion import complete_model
from leepfrog.cli.options import (
    DataArgument,
    FormatOption,
    OutputOption,
)
from leepfrog.cli.output import Format, as_json, as_rows, as_table, chosen_format, emit, remark, terminal_width
from leepfrog.cli.run_options import RunOptions, run_options
from leepfrog.files import printable

if TYPE_CHECKING:
    from leepfrog.ranking.explain import Explanation

HEADER = ("class", "images", "LOO-LEEP", "right %", "carried by", "taken for")
NUMBERS = (False, True, True, True, False, False)
# What a narrow terminal can do without, the least important first.
LEAST = (5, 1, 3)


@run_options("device", "threads", "strict", "quiet")
def explain(
    data: DataArgument,
    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", help="One exported model: a name, a source, or a file.", autocompletion=complete_model
        ),
    ],
    top: Annotated[int, typer.Option("--top", min=1, help="Source classes and confusions to name.")] = 3,
    format_: FormatOption = None,
    output: OutputOption = None,
    *,
    run: RunOptions,
) -> None:
    """Say which of a model's own classes tell each of yours, and which of yours it takes for another.

    LEEP predicts your classes by way of the model's. "Carried by" names the model's classes by their part in that;
    "taken for" names your other classes by the probability that they get. Your classes are listed worst first.
    """
    written_as = chosen_format(format_, output)
    with Bars(run.quiet) as bars:
        explanation = leepfrog.explain(data, model, top=top, context=run.context(bars))
    emit(render(explanation, written_as, terminal_width(output)), output, run.quiet)
    for note in explanation.notes:
        if note not in bars.noticed:
            remark(f"note: {note}", run.quiet)


def render(explanation: Explanation, written_as: Format, width: int | None = None) -> str:
    """An explanation as text in a format; `width` is that of the terminal, for a table that fits."""
    if written_as is Format.json:
        return as_json(explanation.as_dict())
    rows = [
        (
            printable(row.name),
            str(row.n_images),
            f"{row.leep_loo:.3f}",
            f"{100 * row.accuracy:.0f}",
            ", ".join(f"{printable(way.name)} {100 * way.share:.0f}%" for way in row.carriers),
            ", ".join(f"{printable(other.name)} {100 * other.probability:.0f}%" for other in row.confusions),
        )
        for row in explanation.classes
    ]
    if written_as is not Format.table:
        return as_rows(written_as, HEADER, rows, NUMBERS)
    head = (
        f"{printable(explanation.model)} on {explanation.n_images} images from {explanation.data}: "
        f"LOO-LEEP {explanation.leep_loo:.4f}, the mean over images of what follows"
    )
    return f"{head}\n\n{as_table(HEADER, rows, NUMBERS, width, LEAST)}"
