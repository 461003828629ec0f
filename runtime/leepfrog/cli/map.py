"""leepfrog map: plot a library of tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leepfrog.cli.options import QuietOption, check_output
from leepfrog.cli.output import remark
from leepfrog.errors import UsageError
from leepfrog.files import printable, write_whole
from leepfrog.plots.figure import check_plot_path


def map(
    library: Annotated[Path, typer.Argument(metavar="LIBRARY", help="Library folder written by leepfrog library add.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Write the plot to this .html, .png or .svg file.", callback=check_output),
    ],
    quiet: QuietOption = False,
) -> None:
    """Plot the tasks of a library: the clustered matrix of symmetric distances, and the tasks on a plane.

    Colors mark clusters. The length of the bar named "noise" is the distance to expect between two samples of the same
    task: dots closer than that may be one task. A plane cannot preserve all distances; its title shows how well it
    does.
    """
    check_plot_path(output)
    from leepfrog.plots.task_map import draw_task_map
    from leepfrog.task2vec.distances import symmetric
    from leepfrog.task2vec.layout import lay_out
    from leepfrog.task2vec.library import Library

    tasks = Library(library).tasks()
    if len(tasks.names) < 2:
        raise UsageError(f"{printable(library)}: a map needs two tasks; add more with leepfrog library add")
    distances = symmetric(tasks.vectors)
    names = [printable(name) for name in tasks.names]
    title = printable(library.resolve().name)
    drawn = draw_task_map(title, names, distances, tasks.noise, lay_out(distances), output.suffix.lower())
    write_whole(output, drawn)
    remark(f"wrote {printable(output)}: {len(names)} tasks", quiet)
