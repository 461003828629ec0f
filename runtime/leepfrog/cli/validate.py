"""leepfrog validate: evaluate which scores to trust on a zoo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import leepfrog
from leepfrog.cli.bars import Bars
from leepfrog.cli.completion import complete_scores
from leepfrog.cli.options import (
    DataArgument,
    ModelsOption,
    check_distinct,
    check_output,
    split_commas,
)
from leepfrog.cli.output import remark, write_file
from leepfrog.cli.result_options import ResultOptions, result_options
from leepfrog.cli.run_options import RunOptions, run_options
from leepfrog.errors import UsageError
from leepfrog.plots.figure import check_plot_path
from leepfrog.ranking.goal_names import FEW_SHOT, HEAD
from leepfrog.tables import Column, Part, Table, table_of
from leepfrog.validation.choices import IMAGES, SHOTS, SPLITS, TASK_SCORES

if TYPE_CHECKING:
    from leepfrog.validation.agreement import Agreement
    from leepfrog.validation.tasks import OverTasks, TaskStudy
    from leepfrog.validation.validate import Validation

# Weighted taus that differ by less count as equal.
CLOSE = 0.02
# The best of many uninformative scores may be this many standard deviations above 0.
CHANCES = 2.0


@run_options("device", "threads", "strict", "quiet")
@result_options()
def validate(
    data: DataArgument,
    models: ModelsOption = None,
    scores: Annotated[
        list[str] | None,
        typer.Option(
            "--score",
            "-s",
            help="Scores, comma-separated (default: all; with --tasks: LEEP).",
            autocompletion=complete_scores,
        ),
    ] = None,
    images: Annotated[int, typer.Option("--images", min=4, help="Most training images per split.")] = IMAGES,
    splits: Annotated[int, typer.Option("--splits", min=1, help="Number of random splits.")] = SPLITS,
    shots: Annotated[int, typer.Option("--shots", min=1, help="Images per class for few-shot heads.")] = SHOTS,
    tasks: Annotated[
        int | None, typer.Option("--tasks", min=3, help="Instead, study one model on this many random sets of classes.")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", help="With --tasks: a scatter plot, .html, .png or .svg file.", callback=check_output),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Random seed of splits, folds, episodes and tasks.")] = 0,
    *,
    out: ResultOptions,
    run: RunOptions,
) -> None:  # fmt: skip
    """Compare every score with measured accuracy on your images and models, and report which to trust.

    Half of the images are used for scoring and fitting. The ground truth is the accuracy on the other half, of a
    retrained head (linear, with cross-validated regularization) and of heads fitted to a few images per class.
    Baselines, such as "the best on ImageNet", are in the same table.
    """
    if plot is not None:
        if tasks is None:
            raise UsageError("--plot requires --tasks: it plots the tasks of one model")
        check_plot_path(plot, "--plot")
        check_distinct(out.output, plot)
    named = split_commas(models)
    if tasks is not None and len(named) != 1:
        raise UsageError("--tasks studies a single model; name it with --models")
    with Bars(run.quiet) as bars:
        context = run.context(bars)
        if tasks is None:
            wanted = tuple(split_commas(scores)) or ("all",)
            request = leepfrog.ValidateRequest(wanted, images, splits, shots, seed=seed)
            validation = request.run(data, named, context)
            text, notes = render(validation, out), validation.notes
        else:
            chosen = tuple(split_commas(scores)) or TASK_SCORES
            study = leepfrog.TasksRequest(tasks, chosen, images, seed=seed).run(data, named, context)
            text, notes = render_tasks(study, out), study.notes
    out.emit(text, run.quiet)
    for note in notes:
        remark(f"note: {note}", run.quiet)
    if plot is not None:
        from leepfrog.plots.task_scatter import draw_task_scatter

        write_file(plot, draw_task_scatter(study, plot.suffix.lower()), run.quiet)


def render(validation: Validation, out: ResultOptions) -> str:
    """Render a validation."""
    title = (
        f"{validation.data}: {validation.n_classes} classes; {validation.n_train} images for scoring and fitting, "
        f"{validation.n_test} held out; mean of {validation.n_splits} random splits"
    )
    parts: list[Part] = [title, _model_table(validation), _score_table(validation), verdict(validation)]
    records = [
        {
            "truth": truth, "score": name, "baseline": name in validation.baselines, "models": a.n,
            "pearson": a.pearson, "kendall": a.kendall, "weighted_tau": a.weighted_tau,
            "regret_at_1": a.regret, "rel_at_3": a.rel_at_k,
        }
        for truth, agreements in validation.agreements.items()
        for name, a in agreements.items()
    ]  # fmt: skip
    return out.text(validation, parts, records)


def _model_table(validation: Validation) -> Table:
    truths = ("retrained head", f"{validation.shots}-shot prototype", f"{validation.shots}-shot Mahalanobis")
    rows = [(row.name, *(f"{100 * value:.1f}" for value in row.accuracy.values())) for row in validation.models]
    return Table(("model", *(f"{truth} %" for truth in truths)), rows, (False, True, True, True))


def _score_table(validation: Validation) -> Table:
    head, prototype, mahalanobis = validation.agreements.values()
    few = f"{validation.shots}-shot"
    columns: list[Column[str]] = [
        Column("score", str, number=False),
        Column("", lambda name: "baseline" if name in validation.baselines else "", number=False),
        Column("models", lambda name: str(head[name].n)),
        Column("Pearson", lambda name: _number(head[name].pearson)),
        Column("Kendall", lambda name: _number(head[name].kendall)),
        Column("weighted tau", lambda name: _number(head[name].weighted_tau)),
        Column("regret@1", lambda name: f"{head[name].regret:.1f}"),
        Column("rel@3", lambda name: f"{head[name].rel_at_k:.3f}"),
        Column(f"{few}: tau", lambda name: _number(prototype[name].weighted_tau)),
        Column(f"{few}: regret@1", lambda name: f"{prototype[name].regret:.1f}"),
        Column("Mahalanobis: tau", lambda name: _number(mahalanobis[name].weighted_tau)),
        Column("Mahalanobis: regret@1", lambda name: f"{mahalanobis[name].regret:.1f}"),
    ]
    order = sorted(head, key=lambda name: (-(head[name].weighted_tau or -2.0), head[name].regret))
    least = ("Mahalanobis: regret@1", "Mahalanobis: tau", "rel@3", "Kendall", "Pearson", "models")
    return table_of(columns, order, (*least, f"{few}: regret@1", f"{few}: tau"))


def verdict(validation: Validation) -> list[str]:
    """Return sentences on which score to trust."""
    from leepfrog.ranking.decision import Rule

    lines = []
    ours = [name for name in validation.agreements["head"] if name not in validation.baselines]
    judged = (("head", "a retrained head", HEAD), ("prototype", f"{validation.shots}-shot prototypes", FEW_SHOT))
    for truth, what, goal in judged:
        agreements = validation.agreements[truth]
        # A score or baseline that is unknown for some models cannot choose among all of them.
        knowing = [name for name, agreement in agreements.items() if agreement.n == len(validation.models)]
        name = validation.best(truth, [name for name in ours if name in knowing] or ours)
        best = agreements[name]
        if best.weighted_tau is None:
            alike = len({model.accuracy[truth] for model in validation.models}) == 1
            why = "these models are equally accurate" if alike else "no score separates these models"
            lines.append(f"for {what}: {why}")
            continue
        beyond_chance = best.weighted_tau > CHANCES * validation.chance
        line = f"for {what}, trust {name}: {_agreement_text(best)}"
        if not beyond_chance:
            line = f"for {what}, no score is clearly better than chance; the best was {name}: {_agreement_text(best)}"
        if rivals := [name for name in validation.baselines if name in knowing]:
            rival_name = validation.best(truth, rivals)
            rival = agreements[rival_name]
            higher = best.weighted_tau - (rival.weighted_tau or 0)
            cheaper = rival.regret - best.regret
            comparison = (
                "beats" if higher > CLOSE and cheaper > -10 * CLOSE
                else "does not beat" if higher < -CLOSE and cheaper < 10 * CLOSE
                else "is about as good as"
            )  # fmt: skip
            line += f"; it {comparison} the best baseline, {rival_name} ({_agreement_text(rival)})"
        lines.append(line)
        decisive = Rule(goal).decisive
        default = agreements.get(decisive)
        if default is not None and name != decisive:
            behind = best.weighted_tau - (default.weighted_tau or 0)
            comparison = "behind by no more than chance" if behind <= validation.chance else "clearly behind"
            lines.append(f"  rank --goal {goal}, by {decisive}, is {comparison} ({_agreement_text(default)})")
    n = len(validation.models)
    lines.append(f"with only {n} models, an uninformative score has a weighted tau of 0 +/- {validation.chance:.2f}")
    return lines


def _agreement_text(agreement: Agreement) -> str:
    return f"weighted tau {_number(agreement.weighted_tau)}, its first choice loses {agreement.regret:.1f} points"


def render_tasks(study: TaskStudy, out: ResultOptions) -> str:
    """Render a study of tasks; CSV has one row per task."""
    sizes = [len(task.classes) for task in study.tasks]
    title = (
        f"{study.model} on {len(sizes)} tasks of {min(sizes)} to {max(sizes)} classes from {study.data}: scores "
        "against the accuracy of retrained heads"
    )
    columns: list[Column[tuple[str, OverTasks]]] = [
        Column("score", lambda row: row[0], number=False),
        Column("Pearson", lambda row: _number(row[1].pearson)),
        Column("Kendall", lambda row: _number(row[1].kendall)),
        Column("Pearson at equal class counts", lambda row: _number(row[1].pearson_within)),
    ]
    records = [
        {
            "classes": "; ".join(task.classes), "n_classes": len(task.classes), "n_train": task.n_train,
            "n_test": task.n_test, "accuracy": task.accuracy,
            **{name: task.scores[name] for name in study.correlations},
        }
        for task in study.tasks
    ]  # fmt: skip
    parts: list[Part] = [title, table_of(columns, study.correlations.items()), _beyond_classes(study)]
    return out.text(study, parts, records)


def _beyond_classes(study: TaskStudy) -> str:
    from leepfrog.validation.tasks import BY_CLASSES

    alone = study.correlations[BY_CLASSES].pearson
    return (
        f"{BY_CLASSES} knows only the number of classes: tasks with more classes are harder, which explains much of a "
        f"correlation ({_number(alone)} here); the last column removes this effect"
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
