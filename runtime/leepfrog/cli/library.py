"""leepfrog library: collections of embedded tasks, with the errors of models on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import leepfrog
from leepfrog.cli.output import emit
from leepfrog.cli.result_options import ResultOptions, result_options
from leepfrog.errors import UsageError
from leepfrog.files import printable
from leepfrog.tables import Column, table_of

if TYPE_CHECKING:
    from leepfrog.task2vec.library import ListedTask

app = typer.Typer(help="Collections of embedded tasks.", no_args_is_help=True, rich_markup_mode=None)

# Columns that narrow terminals omit, the least important first.
LEAST = ("models", "classes", "images", "noise")

LibraryArgument = Annotated[Path, typer.Argument(metavar="LIBRARY", help="Library folder.")]


@app.command("add")
def add(
    library: LibraryArgument,
    files: Annotated[
        list[Path], typer.Argument(metavar="TASK.npz", help="Files by leepfrog embed, all from the same probe.")
    ],
    errors: Annotated[
        Path | None,
        typer.Option("--errors", help="CSV of models' errors on these tasks: task,model,error (as a fraction)."),
    ] = None,
) -> None:
    """Add embedded tasks to a library folder, replacing tasks of the same name."""
    from leepfrog.task2vec.embedding import check_comparable
    from leepfrog.task2vec.library import Library, read_errors

    tasks = [leepfrog.Embedding.load(path) for path in files]
    check_comparable(tasks)
    names = [task.name for task in tasks]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"two of these tasks are named {twice!r}; embed one of them again with another --name")
    table = read_errors(errors) if errors else {}
    unknown = next((task for task, _ in table if task not in names), None)
    if unknown is not None:
        raise UsageError(
            f"{printable(errors or '')}: errors on {unknown!r}, not one of these tasks ({', '.join(names[:5])})"
        )
    whole = Library(library)
    for task in tasks:
        task_errors = {model: error for (name, model), error in table.items() if name == task.name}
        done = "replaced" if whole.add(task, task_errors) else "added"
        emit(f"{done} {printable(task.name)}" + (f", errors of {len(task_errors)} models" if task_errors else ""), None)


@app.command("list")
@result_options(with_quiet=True)
def list_(library: LibraryArgument, *, out: ResultOptions) -> None:
    """List the tasks of a library, with the best of the models whose errors are known."""
    from leepfrog.task2vec.library import Library

    listing = Library(library).listing()
    columns: list[Column[ListedTask]] = [
        Column("task", lambda row: row.task, number=False),
        Column("images", lambda row: _text(row.n_images)),
        Column("classes", lambda row: _text(row.n_classes)),
        Column("noise", lambda row: f"{row.noise:.3f}"),
        Column("models", lambda row: str(row.n_models)),
        Column("best model", lambda row: _text(row.best_model), number=False),
        Column("error %", lambda row: "" if row.error is None else f"{100 * row.error:.1f}"),
    ]
    table = table_of(columns, listing.tasks, LEAST)
    out.emit(out.text(listing, [table]))


def _text(value: object) -> str:
    return "" if value is None else str(value)
