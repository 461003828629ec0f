"""leepfrog score: scores and rankings from arrays of any modality."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leepfrog.cli.completion import complete_goal, complete_order, complete_scores
from leepfrog.cli.formats import Format
from leepfrog.cli.options import split_commas
from leepfrog.cli.result_options import ResultOptions, result_options
from leepfrog.errors import UsageError
from leepfrog.ranking.goal_names import HEAD
from leepfrog.tables import Column, table_of

if TYPE_CHECKING:
    from leepfrog.scoring.score import Score

# Columns that narrow terminals omit, the least important first.
LEAST = ("diagnostics", "inputs", "target classes", "images", "standard error")


@result_options(with_quiet=True)
def score(
    labels: Annotated[Path, typer.Option("--labels", help="Target class of each row: .npy, [N], integers or strings.")],
    probs: Annotated[
        list[str] | None,
        typer.Option(
            "--probs",
            metavar="[MODEL=]FILE",
            help="Softmax over source classes: .npy, [N, Z], float32 or float64. Give MODEL to rank several models.",
        ),
    ] = None,
    features: Annotated[
        list[str] | None,
        typer.Option(
            "--features",
            metavar="[MODEL=]FILE",
            help="Inputs of the model's last layer: .npy, [N, D], numbers. Give MODEL to rank several models.",
        ),
    ] = None,
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--score",
            "-s",
            help="Scores, comma-separated (default: all that the arrays allow). In a ranking, additional columns.",
            autocompletion=complete_scores,
        ),
    ] = None,
    goal: Annotated[
        str, typer.Option("--goal", help="Intended use of the ranked models.", autocompletion=complete_goal)
    ] = HEAD,
    by: Annotated[
        str | None, typer.Option("--by", help="Rank models by this score instead.", autocompletion=complete_order)
    ] = None,
    *,
    out: ResultOptions,
) -> None:
    """Score a model from its predictions, its features or both, or rank several models.

    The inputs may be of any modality: images, text, sound. Scores of predictions, such as leep and nce, read --probs,
    all others --features. The intervals show where a score would fall with other samples of the same classes. With
    --features A=a.npy --features B=b.npy, models A and B are ranked as by leepfrog rank, by --goal (head, few-shot,
    finetune) or --by a score.
    """
    given = {"features": _named(features, "--features"), "probs": _named(probs, "--probs")}
    models = list(dict.fromkeys(name for files in given.values() for name in files))
    if models == [None] or not models:
        if by is not None or goal != HEAD:
            raise UsageError("--goal and --by rank named models; name each array, such as --features A=a.npy")
        files = {kind: of_models.get(None) for kind, of_models in given.items()}
        out.emit(_scores_of_one(labels, files, split_commas(names), out))
        return
    if None in models:
        raise UsageError("some arrays are named and some are not; give each as MODEL=FILE")
    from leepfrog.cli.rank import render
    from leepfrog.ranking.rank_arrays import RankArraysRequest, rank_array_files

    request = RankArraysRequest(by, goal, tuple(split_commas(names)))
    by_model = {
        model: {kind: of_models[model] for kind, of_models in given.items() if model in of_models}
        for model in models
        if model is not None
    }
    ranking = rank_array_files(by_model, labels, request)
    out.emit(render(ranking, out))


def _named(values: list[str] | None, option: str) -> dict[str | None, Path]:
    """Return the files by model name; None is the key of a file without a name."""
    files: dict[str | None, Path] = {}
    for value in values or ():
        name, separator, file = value.partition("=")
        model = name if separator and not Path(value).exists() else None
        if model == "" or (file == "" and model is not None):
            raise UsageError(f"{option} {value}: expected MODEL=FILE")
        if model in files:
            what = "without a model name; give each as MODEL=FILE" if model is None else f"for {model}"
            raise UsageError(f"{option}: two files {what}")
        files[model] = Path(value if model is None else file)
    return files


def _scores_of_one(labels: Path, files: dict[str, Path | None], names: list[str], out: ResultOptions) -> str:
    from leepfrog.ranking.score_files import score_files

    result = score_files(labels, files["probs"], files["features"], names)
    in_full = out.format is Format.csv

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
    return out.text(result, [table])


def _diagnostics(score: Score) -> str:
    return ", ".join(f"{name} {value:.6g}" for name, value in score.diagnostics.items())
