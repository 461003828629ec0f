"""leepfrog distance: how far tasks lie from each other."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated

import typer

import leepfrog
from leepfrog.arguments import check_name
from leepfrog.cli.completion import complete_distance
from leepfrog.cli.options import FormatOption, OutputOption, QuietOption, either
from leepfrog.cli.output import Format, as_json, as_rows, chosen_format, emit, terminal_width
from leepfrog.errors import UsageError
from leepfrog.files import printable
from leepfrog.task2vec.choices import DISTANCES


def distance(
    files: Annotated[list[Path], typer.Argument(metavar="TASK.npz", help="Two or more, by leepfrog embed.")],
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind",
            help=f"One distance, as a table of all tasks against all: {either(DISTANCES)} "
            "(default: all of them, pair by pair).",
            autocompletion=complete_distance,
        ),
    ] = None,
    depth: Annotated[
        int | None, typer.Option("--depth", min=1, help="Compare so many layers, the last ones (default: all).")
    ] = None,
    format_: FormatOption = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
) -> None:
    """Distances between embedded tasks. 0 is the same; a task's noise is how far another sample of it would lie.

    symmetric is TASK2VEC's, 0 to 1. asymmetric, from the first task to the second, is less where the first is complex:
    models trained for it suit more tasks.
    """
    from leepfrog.task2vec.distance_table import ComparedTask, DistanceTable

    if len(files) < 2:
        raise UsageError("a distance needs two tasks; leepfrog embed DIR --probe NAME -o TASK.npz makes one")
    if kind is not None:
        check_name("distance", kind, DISTANCES)
    written_as = chosen_format(format_, output)
    tasks = [leepfrog.Embedding.load(path) for path in files]
    if depth is not None:
        tasks = [task.last(depth) for task in tasks]
    kinds = DISTANCES if kind is None else (kind,)
    matrices = {metric: leepfrog.distances(tasks, metric) for metric in kinds}
    names = [printable(task.name) for task in tasks]
    if written_as is Format.json:
        compared = tuple(
            ComparedTask(name, printable(path), task.self_distance)
            for name, path, task in zip(names, files, tasks, strict=True)
        )
        by_kind = {metric: tuple(map(tuple, matrix.tolist())) for metric, matrix in matrices.items()}
        emit(as_json(DistanceTable(compared, by_kind).as_dict()), output, quiet)
    elif kind is not None:
        header = ("task", "noise", *names)
        rows = [
            (name, f"{task.self_distance:.4f}", *(f"{value:.4g}" for value in row))
            for name, task, row in zip(names, tasks, matrices[kind], strict=True)
        ]
        emit(as_rows(written_as, header, rows, (False, *[True] * (len(names) + 1))), output, quiet)
    else:
        header = ("from", "to", *(metric.replace("_", " ") for metric in kinds), "noise")
        rows = [
            (
                names[i],
                names[j],
                *(f"{matrices[metric][i, j]:.4g}" for metric in kinds),
                f"{(tasks[i].self_distance + tasks[j].self_distance) / 2:.4f}",
            )
            for i, j in itertools.permutations(range(len(tasks)), 2)
        ]
        emit(
            as_rows(
                written_as,
                header,
                rows,
                (False, False, *[True] * (len(kinds) + 1)),
                terminal_width(output),
                range(len(kinds) + 1, 2, -1),
            ),
            output,
            quiet,
        )
