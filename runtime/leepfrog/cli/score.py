"""leepfrog score: the scores from arrays, for any modality."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leepfrog.cli.completion import complete_scores
from leepfrog.cli.options import FormatOption, OutputOption, QuietOption, split_commas
from leepfrog.cli.output import Format, as_json, as_rows, chosen_format, emit, terminal_width

HEADER = ("score", "value", "standard error", "90 % interval", "images", "inputs", "target classes", "diagnostics")
NUMBERS = (False, True, True, True, True, True, True, False)
# What a narrow terminal can do without, the least important first.
LEAST = (7, 5, 6, 4, 2)


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
    if written_as is Format.json:
        emit(as_json(result.as_dict()), output, quiet)
        return
    rows = []
    for s in result.scores.values():
        diagnostics = ", ".join(f"{name} {count:.6g}" for name, count in s.diagnostics.items())
        error = "" if s.standard_error is None else f"{s.standard_error:.6g}"
        value = repr(s.value) if written_as is Format.csv else f"{s.value:.6f}"
        low, high = s.interval or (s.value, s.value)
        interval = f"{low:.6g} to {high:.6g}"
        rows.append((s.name, value, error, interval, str(s.n_samples), str(s.n_source), str(s.n_target), diagnostics))
    emit(as_rows(written_as, HEADER, rows, NUMBERS, terminal_width(output), LEAST), output, quiet)
