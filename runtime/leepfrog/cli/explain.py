"""leepfrog explain: explain the LEEP of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

import leepfrog
from leepfrog.cli.bars import Bars
from leepfrog.cli.completion import complete_model
from leepfrog.cli.options import (
    DataArgument,
)
from leepfrog.cli.output import remark
from leepfrog.cli.result_options import ResultOptions, result_options
from leepfrog.cli.run_options import RunOptions, run_options
from leepfrog.tables import Column, table_of

if TYPE_CHECKING:
    from leepfrog.ranking.explain import ClassExplanation, Explanation

# Columns that narrow terminals omit, the least important first.
LEAST = ("images", "right %", "taken for")


@run_options("device", "threads", "strict", "quiet")
@result_options()
def explain(
    data: DataArgument,
    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", help="Exported model: a name, a source or a file.", autocompletion=complete_model
        ),
    ],
    top: Annotated[int, typer.Option("--top", min=1, help="Number of source classes and confusions to list.")] = 3,
    *,
    out: ResultOptions,
    run: RunOptions,
) -> None:
    """Show which of a model's own classes predict each of yours, and which of yours it confuses.

    LEEP predicts your classes from the model's own classes. "Carried by" lists the model's classes by their share in
    that prediction, "taken for" your other classes by predicted probability. Your classes are listed worst first.
    """
    with Bars(run.quiet) as bars:
        explanation = leepfrog.explain(data, model, top=top, context=run.context(bars))
    out.emit(render(explanation, out), run.quiet)
    for note in explanation.notes:
        if note not in bars.noticed:
            remark(f"note: {note}", run.quiet)


def render(explanation: Explanation, out: ResultOptions) -> str:
    """Render an explanation."""

    def carriers(row: ClassExplanation) -> str:
        return ", ".join(f"{way.name} {100 * way.share:.0f}%" for way in row.carriers)

    def confusions(row: ClassExplanation) -> str:
        return ", ".join(f"{other.name} {100 * other.probability:.0f}%" for other in row.confusions)

    columns: list[Column[ClassExplanation]] = [
        Column("class", lambda row: row.name, number=False),
        Column("images", lambda row: str(row.n_images)),
        Column("LOO-LEEP", lambda row: f"{row.leep_loo:.3f}"),
        Column("right %", lambda row: f"{100 * row.accuracy:.0f}"),
        Column("carried by", carriers, number=False),
        Column("taken for", confusions, number=False),
    ]
    head = (
        f"{explanation.model} on {explanation.n_images} images from {explanation.data}: "
        f"LOO-LEEP {explanation.leep_loo:.4f}, the mean over images of the values below"
    )
    caution = "These are predictions from the model's own classes (LEEP), not those of a retrained head."
    return out.text(explanation, [head, caution, table_of(columns, explanation.classes, LEAST)])
