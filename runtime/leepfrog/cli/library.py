"""leepfrog library: embedded tasks kept together, with models' errors on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import leepfrog
from leepfrog.cli.formats import as_text, chosen_format, terminal_width
from leepfrog.cli.options import FormatOption, OutputOption, QuietOption
from leepfrog.cli.output import emit
from leepfrog.errors import UsageError
from leepfrog.files import printable
from leepfrog.tables import Column, table_of

if TYPE_CHECKING:
    from leepfrog.task2vec.library import ListedTask

app = typer.Typer(help="Embedded tasks kept together.", no_args_is_help=True, rich_markup_mode=None)

# What a narrow terminal can do without, the least important first.
LEAST = ("models", "classes", "images", "noise")

LibraryArgument = Annotated[Path, typer.Argument(metavar="LIBRARY", help="A folder.")]


@app.command("add")
def add(
    library: LibraryArgument,
    files: Annotated[list[Path], typer.Argument(metavar="TASK.npz", help="By leepfrog embed, all by one probe.")],
    errors: Annotated[
        Path | None,
        typer.Option("--errors", help="CSV of models' errors on these tasks: task,model,error (a fraction)."),
    ] = None,
) -> None:
    """Add embedded tasks to a library, which is a folder; a task of the same name is replaced."""
    from leepfrog.task2vec.embedding import check_comparable
    from leepfrog.task2vec.library import Library, read_errors

    tasks = [leepfrog.Embedding.load(path) for path in files]
    check_comparable(tasks)
    names = [task.name for task in tasks]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"two of these tasks are called {twice!r}; give one another --name when embedding")
    table = read_errors(errors) if errors else {}
    unknown = next((task for task, _ in table if task not in names), None)
    if unknown is not None:
        raise UsageError(
            f"{printable(errors or '')}: has errors on {unknown!r}, none of these tasks ({', '.join(names[:5])})"
        )
    whole = Library(library)
    for task in tasks:
        task_errors = {model: error for (name, model), error in table.items() if name == task.name}
        done = "replaced" if whole.add(task, task_errors) else "added"
        emit(f"{done} {printable(task.name)}" + (f", errors of {len(task_errors)} models" if task_errors else ""), None)


@app.command("list")
def list_(
    library: LibraryArgument, format_: FormatOption = None, output: OutputOption = None, quiet: QuietOption = False
) -> None:
    """List a library's tasks, and the best of the models whose errors on them are known."""
    from leepfrog.task2vec.library import Library

    written_as = chosen_format(format_, output)
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
    emit(as_text(written_as, listing, [table], terminal_width(output)), output, quiet)


def _text(value: object) -> str:
    return "" if value is None else str(value)
