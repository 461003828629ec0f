"""A library of embedded tasks and the errors of models on them.

A library is a folder with one embedding per task, `tasks/NAME.npz`, and a table `errors.csv` with the columns task,
model and error. Files are written atomically.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from leepfrog import stated
from leepfrog.arguments import StrPath, as_path
from leepfrog.errors import EmbeddingError, UsageError
from leepfrog.files import LARGEST_TEXT, listed, locked, printable, read_regular, write_whole
from leepfrog.results import Result
from leepfrog.task2vec.embedding import EmbeddedLayer, Embedding, check_comparable

# Maximum ratio between the largest values of two embeddings, so that float32 can represent both in one unit.
MAX_RATIO = 1e30

COLUMNS = ("task", "model", "error")

Errors = dict[tuple[str, str], float]
"""Error rate, a fraction from 0 to 1, by task and model."""


@dataclasses.dataclass(frozen=True)
class Tasks:
    """A library's embeddings as one matrix.

    Attributes:
        names: names of the tasks.
        network: SHA-256 of the scoring model that the filters belong to.
        layers: layers of the embeddings.
        vectors: embeddings divided by `unit`, [T, F] float32; 1,500 tasks and 17,000 filters take 100 MB.
        unit: the Fisher information that corresponds to a value of 1 in `vectors`.
        noise: `self_distance` of each task, [T].
    """

    names: tuple[str, ...]
    network: str
    layers: tuple[EmbeddedLayer, ...]
    vectors: NDArray[np.float32]
    unit: float
    noise: NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class ListedTask:
    """A task in the listing of a library.

    Attributes:
        task: name of the task.
        n_images: number of images; None if the embedding does not record it.
        n_classes: number of classes; None if the embedding does not record it.
        noise: approximate symmetric distance to another embedding of the same task.
        n_models: number of models with a known error on the task.
        best_model: name of the model with the lowest error; None if no error is known.
        error: error of the best model, a fraction; None if no error is known.
    """

    task: str
    n_images: int | None
    n_classes: int | None
    noise: float
    n_models: int
    best_model: str | None
    error: float | None


@dataclasses.dataclass(frozen=True)
class LibraryListing(Result):
    """The contents of a library.

    Attributes:
        tasks: tasks, sorted by file name.
    """

    kind: ClassVar = "library"
    schema_version: ClassVar = 1

    tasks: tuple[ListedTask, ...]


class Library:
    """A folder of embedded tasks and the errors of models on them."""

    def __init__(self, folder: StrPath) -> None:
        """Open a library; the folder is created when the first task is added.

        Raises:
            UsageError: the path is empty.
        """
        self.folder = as_path(folder, "a library")

    def add(self, embedding: Embedding, errors: Mapping[str, float] | None = None) -> bool:
        """Add a task, or replace the task of the same name.

        Args:
            embedding: embedding of the task, made with the same probe as the library's other tasks.
            errors: errors of models on the task, fractions, by model name; known errors of other models are kept.

        Returns:
            True if a task of the same name was replaced.

        Raises:
            EmbeddingError: the embedding is by another probe, the library is damaged, or an error is invalid.
            MachineError: the folder cannot be written.
        """
        for model, error in (errors or {}).items():
            _check_error(embedding.name, model, error)
        path = self._file(embedding.name)
        other = next((file for file in self._files() if file != path), None)
        if other is not None:
            check_comparable([Embedding.load(other), embedding])
        replaced = path.exists()
        embedding.save(path)
        if errors:
            with locked(self.folder / ".lock"):  # another process may be adding errors
                whole = self.errors() | {(embedding.name, model): float(error) for model, error in errors.items()}
                self._write_errors(whole)
        return replaced

    def listing(self) -> LibraryListing:
        """List the tasks with the best known model for each; raises the same errors as `embeddings` and `errors`."""
        errors = self.errors()
        rows = []
        for task in self.embeddings():
            known = sorted((error, model) for (name, model), error in errors.items() if name == task.name)
            classes = task.made.get("classes", {})
            rows.append(
                ListedTask(
                    task=printable(task.name),
                    n_images=_count(task.made.get("n_available")),
                    n_classes=sum(bool(_count(n)) for n in classes.values()) if isinstance(classes, dict) else None,
                    noise=task.self_distance,
                    n_models=len(known),
                    best_model=printable(known[0][1]) if known else None,
                    error=known[0][0] if known else None,
                )
            )
        return LibraryListing(tuple(rows))

    def embeddings(self) -> Iterator[Embedding]:
        """Yield the embeddings of the tasks, sorted by file name.

        Raises:
            UsageError: the folder is not a library, or the library is empty.
            EmbeddingError: a file is damaged, or two embeddings are by different probes.
        """
        files = self._files()
        if not files:
            raise UsageError(
                f"{printable(self.folder)}: not a library, or empty; create it with leepfrog library add "
                f"{printable(self.folder)} TASK.npz"
            )
        first = None
        for path in files:
            embedding = Embedding.load(path)
            first = first or embedding
            check_comparable([first, embedding])
            yield embedding

    def tasks(self) -> Tasks:
        """Load all embeddings as one matrix; raises the same errors as `embeddings`."""
        names: list[str] = []
        noise: list[float] = []
        rows: list[NDArray[np.float32]] = []
        first, unit = None, 1.0
        for embedding in self.embeddings():
            if first is None:
                first, unit = embedding, float(embedding.vector.max())
            names.append(embedding.name)
            noise.append(embedding.self_distance)
            rows.append(in_units(embedding, unit))
        assert first is not None
        return Tasks(tuple(names), first.network, first.layers, np.stack(rows), unit, np.array(noise))

    def errors(self) -> Errors:
        """Read the errors of models on tasks; empty if there is no table yet.

        Raises:
            EmbeddingError: the table cannot be read or is invalid.
        """
        path = self.folder / "errors.csv"
        return read_errors(path) if os.path.lexists(path) else {}

    def _files(self) -> list[Path]:
        try:
            return listed(self.folder / "tasks", ".npz")
        except OSError as error:
            raise EmbeddingError(f"{printable(self.folder)}: cannot be read: {error.strerror or error}") from None

    def _file(self, name: str) -> Path:
        return self.folder / "tasks" / f"{file_name(name)}.npz"

    def _write_errors(self, errors: Errors) -> None:
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows((task, model, repr(error)) for (task, model), error in sorted(errors.items()))
        write_whole(self.folder / "errors.csv", stream.getvalue().encode("utf-8", "surrogateescape"))


def in_units(embedding: Embedding, unit: float) -> NDArray[np.float32]:
    """Return an embedding's vector divided by `unit`, the largest value of another embedding, [F] float32.

    Raises:
        EmbeddingError: the scales differ too much for float32.
    """
    ratio = float(embedding.vector.max()) / unit
    if not 1 / MAX_RATIO <= ratio <= MAX_RATIO:
        raise EmbeddingError(
            f"{printable(embedding.name)} has values {ratio:.3g} times as large as the library's first task: one of "
            "the two is not Fisher information of this network; embed it again"
        )
    return (embedding.vector / unit).astype(np.float32)


def read_errors(path: StrPath) -> Errors:
    """Read a CSV table with the columns task, model and error; other columns are ignored.

    Raises:
        EmbeddingError: the file cannot be read, a column is missing, or a line is invalid.
    """
    path = Path(path)
    try:
        text = read_regular(path, LARGEST_TEXT).decode("utf-8-sig")
    except OSError as error:
        raise EmbeddingError(f"{printable(path)}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise EmbeddingError(f"{printable(path)}: cannot be read: {error}") from None
    errors: Errors = {}
    try:
        reader = csv.DictReader(io.StringIO(text), strict=True)
        absent = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
        if absent:
            raise EmbeddingError(f"has no column {absent[0]!r}; required columns are {', '.join(COLUMNS)}")
        for row in reader:
            task, model, given = (row[column] for column in COLUMNS)
            task, model = (stated.text(cell or "", "a name", stated.LONGEST_NAME) for cell in (task, model))
            if not task or not model:
                raise EmbeddingError(f"line {reader.line_num}: task or model is empty")
            try:
                value = float(given)
            except (TypeError, ValueError):
                raise EmbeddingError(f"line {reader.line_num}: error is {str(given)[:40]!r}, not a number") from None
            _check_error(task, model, value)
            if (task, model) in errors:
                raise EmbeddingError(f"line {reader.line_num} repeats {task}, {model}")
            errors[task, model] = value
    except (EmbeddingError, ValueError, csv.Error) as error:
        raise EmbeddingError(f"{printable(path)}: {printable(str(error))}") from None
    return errors


def table_of(errors: Errors, tasks: Sequence[str]) -> tuple[list[str], NDArray[np.float64]]:
    """Return sorted model names and their errors on the given tasks, [T, M], NaN where unknown."""
    models = sorted({model for task, model in errors if task in set(tasks)})
    table = np.array([[errors.get((task, model), math.nan) for model in models] for task in tasks], np.float64)
    return models, table.reshape(len(tasks), len(models))


def _check_error(task: str, model: str, error: float) -> None:
    if isinstance(error, bool) or not isinstance(error, Real) or not 0 <= error <= 1:
        raise EmbeddingError(f"the error of {model} on {task} is {error}, not a fraction from 0 to 1")


def file_name(name: str) -> str:
    """Encode a task's name as a file name; reversible except for long names, which are truncated and end in a hash."""
    quoted = quote(name, safe=" ,()[]+=", errors="surrogateescape") or "%"
    if quoted.startswith("."):  # no hidden file, "." or ".."
        quoted = f"%2E{quoted[1:]}"
    if len(quoted) > 150:
        quoted = f"{quoted[:100]}-{hashlib.sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}"
    return quoted


def _count(value: object) -> int | None:
    """Return a count read from a file; None if it is not a non-negative integer."""
    return value if type(value) is int and value >= 0 else None
