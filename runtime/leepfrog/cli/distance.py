"""leepfrog distance: distances between embedded tasks."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import leepfrog
from leepfrog.arguments import check_name
from leepfrog.cli.completion import complete_distance
from leepfrog.cli.options import either
from leepfrog.cli.result_options import ResultOptions, result_options
from leepfrog.errors import UsageError
from leepfrog.files import printable
from leepfrog.tables import Table
from leepfrog.task2vec.choices import DISTANCES

if TYPE_CHECKING:
    from leepfrog.task2vec.distance_table import DistanceTable


@result_options(with_quiet=True)
def distance(
    files: Annotated[list[Path], typer.Argument(metavar="TASK.npz", help="Two or more files by leepfrog embed.")],
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind",
            help=f"Show one distance, as a matrix: {either(DISTANCES)} "
            "(default: all distances, one row per pair of tasks).",
            autocompletion=complete_distance,
        ),
    ] = None,
    depth: Annotated[
        int | None, typer.Option("--depth", min=1, help="Compare only this many of the last layers (default: all).")
    ] = None,
    *,
    out: ResultOptions,
) -> None:
    """Print distances between embedded tasks. 0 means the same task.

    "noise" is the distance to expect between two samples of the same task. "symmetric" is TASK2VEC's distance, from 0
    to 1. "asymmetric", from the first task to the second, is smaller if the first is complex: models trained for such
    a task suit more tasks.
    """
    from leepfrog.task2vec.distance_table import ComparedTask, DistanceTable

    if len(files) < 2:
        raise UsageError("a distance needs two tasks; create them with leepfrog embed DIR --probe NAME -o TASK.npz")
    if kind is not None:
        check_name("distance", kind, DISTANCES)
    tasks = [leepfrog.Embedding.load(path) for path in files]
    if depth is not None:
        tasks = [task.last(depth) for task in tasks]
    kinds = DISTANCES if kind is None else (kind,)
    matrices = {metric: leepfrog.distances(tasks, metric) for metric in kinds}
    names = [printable(task.name) for task in tasks]
    table = DistanceTable(
        tuple(
            ComparedTask(name, printable(path), task.self_distance)
            for name, path, task in zip(names, files, tasks, strict=True)
        ),
        {metric: tuple(map(tuple, matrix.tolist())) for metric, matrix in matrices.items()},
    )
    shown = _pairs(table) if kind is None else _all_to_all(table, kind)
    out.emit(out.text(table, [shown]))


def _all_to_all(distances: DistanceTable, kind: str) -> Table:
    """Return the matrix of one distance between all tasks."""
    names = [task.name for task in distances.tasks]
    rows = [
        (task.name, f"{task.noise:.4f}", *(f"{value:.4g}" for value in row))
        for task, row in zip(distances.tasks, distances.distances[kind], strict=True)
    ]
    return Table(("task", "noise", *names), rows, (False, *[True] * (len(names) + 1)))


def _pairs(distances: DistanceTable) -> Table:
    """Return all distances, one row per ordered pair of tasks."""
    kinds = [kind.replace("_", " ") for kind in distances.distances]
    rows = [
        (
            one.name,
            other.name,
            *(f"{matrix[i][j]:.4g}" for matrix in distances.distances.values()),
            f"{(one.noise + other.noise) / 2:.4f}",
        )
        for (i, one), (j, other) in itertools.permutations(enumerate(distances.tasks), 2)
    ]
    return Table(("from", "to", *kinds, "noise"), rows, (False, False, *[True] * (len(kinds) + 1)), (*kinds[:0:-1],))
