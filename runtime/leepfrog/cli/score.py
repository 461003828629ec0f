"""leepfrog score: the scores from arrays, for any modality."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leepfrog.cli.completion import complete_scores
from leepfrog.cli.formats import Format, as_text, chosen_format, terminal_width
from leepfrog.cli.options import FormatOption, OutputOption, QuietOption, split_commas
from leepfrog.cli.output import emit
from leepfrog.tables import Column, table_of

if TYPE_CHECKING:
    from leepfrog.scoring.score import Score

# What a narrow terminal can do without, the least important first.
LEAST = ("diagnostics", "inputs", "target classes", "images", "standard error")


def score(
    labels: Annotated[Path, typer.Option("--labels", help="Target class of each row, .npy, [N] integers or strings.")],
    probs: Annotated[
        Path | None, typer.Option("--probs", help="Softmax over source classes, .npy, [N, Z] float32/float64.")
    ] = None,
    features: Annotated[
        Path | None, typer.Option("--features", help="Inputs of the model's last layer, .npy, [N, D] numbers.")
    ] = None,
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--score",
            "-s",
            help="Scores by name, commas between them (default: all that the arrays allow).",
            autocompletion=complete_scores,
        ),
    ] = None,
    format_: FormatOption = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
) -> None:
    """Score one model from its predictions, its features or both, whatever it saw (images, text, sound).

    Scores of predictions, such as leep and nce, read --probs, all others --features. The intervals are those that other
    images of the same classes would fall into.
    """
    from leepfrog.ranking.score_files import score_files

    written_as = chosen_format(format_, output)
    result = score_files(labels, probs, features, split_commas(names))
    in_full = written_as is Format.csv

    def interval(score: Score) -> str:
        low, high = score.interval or (score.value, score.value)
        return f"{low:.6g} to {high:.6g}"

    columns: list[Column[Score]] = [
        Column("score", lambda score: score.name, number=False),
        Column("value", lambda score: repr(score.value) if in_full else f"{score.value:.6f}"),
        Column("standard error", lambda score: "" if score.standard_error is None else f"{score.standard_error:.6g}"),
        Column("90 % interval", interval),
        Column("images", lambda score: str(score.n_samples)),
        Column("inputs", lambda score: str(score.n_source)),
        Column("target classes", lambda score: str(score.n_target)),
        Column("diagnostics", _diagnostics, number=False),
    ]
    table = table_of(columns, result.scores.values(), LEAST)
    emit(as_text(written_as, result, [table], terminal_width(output)), output, quiet)


def _diagnostics(score: Score) -> str:
    return ", ".join(f"{name} {value:.6g}" for name, value in score.diagnostics.items())
