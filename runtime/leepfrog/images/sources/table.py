"""A CSV table of `file_name,label`."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from leepfrog.errors import DataSetError
from leepfrog.files import printable, read_regular
from leepfrog.images.dataset import ImageSet
from leepfrog.images.kinds import EXTENSIONS, ending
from leepfrog.images.sources.base import Source, set_of_files

MAX_TABLE_BYTES = 1 << 30
COLUMNS = ("file_name", "label")
_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}


def set_of_table(file: str) -> ImageSet:
    """The images that a table lists.

    Raises:
        DataSetError: it cannot be read, its columns or quotes are wrong, none of its files exists, or fewer than two
            classes.
    """
    path = Path(file)
    where = printable(path)
    try:
        text = read_regular(path, MAX_TABLE_BYTES).decode("utf-8-sig")
        rows = list(_rows(where, text))
    except OSError as error:
        raise DataSetError(f"{where}: cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataSetError(f"{where}: cannot be read as a UTF-8 CSV table: {error}") from error
    paths = [(os.path.join(path.parent, name), label) for name, label in rows]
    if rows and not any(os.path.lexists(file) for file, _ in paths):
        raise DataSetError(_not_found(path, rows[0][0], len(rows)))
    return set_of_files(where, paths)


def _accepts(where: str) -> bool:
    path = Path(where)
    return path.suffix.lower() == ".csv" and path.is_file()


def _rows(where: str, text: str) -> Iterator[tuple[str, str]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns = next(reader, [])
    _check_columns(where, columns)
    at = [columns.index(name) for name in COLUMNS]
    begun = reader.line_num + 1
    try:
        for row in reader:
            line, begun = begun, reader.line_num + 1
            if not row:
                continue
            if any(row[len(columns) :]):
                raise DataSetError(
                    f"{where}, line {line}: {len(row)} fields for {len(columns)} columns; put quotes around a field "
                    "with a comma in it"
                )
            if begun - line > 1 and _swallows_rows(row, len(columns), at):
                raise DataSetError(f"{where}, line {line}: a quote that opens here ends {begun - line - 1} lines later")
            name, label = (row[i].strip() if i < len(row) else "" for i in at)
            if not name or not label:
                raise DataSetError(f"{where}, line {line}: file_name or label is empty")
            yield row[at[0]], label
    except csv.Error as error:
        raise DataSetError(f"{where}, line {begun}: cannot be read as a UTF-8 CSV table: {error}") from None


def _swallows_rows(row: Sequence[str], n_columns: int, at: Sequence[int]) -> bool:
    """Whether a field of several lines looks like several rows.

    In a name or label, lines with as many commas as a row do; in a text, where commas are common, lines that name an
    image file besides.
    """
    for i, field in enumerate(row):
        for line in field.splitlines()[1:]:
            fields = line.split(",")
            if i in at and len(fields) >= n_columns:
                return True
            if len(fields) > at[0] and ending(fields[at[0]].strip()) in EXTENSIONS:
                return True
    return False


def _check_columns(where: str, columns: Sequence[str]) -> None:
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        present = ", ".join(map(printable, columns)) or "nothing"
        other = [
            words
            for delimiter, words in _DELIMITERS.items()
            if set(COLUMNS) <= {part.strip() for part in delimiter.join(columns).split(delimiter)}
        ]
        fix = f"; its columns are separated by {other[0]}, not commas" if other else ""
        raise DataSetError(
            f"{where}: no column {' or '.join(missing)} (found: {present[:200]}); the first line must be "
            f"file_name,label{fix}"
        )
    for name in COLUMNS:
        if columns.count(name) > 1:
            raise DataSetError(f"{where}: {columns.count(name)} columns are called {name}; keep the one that is meant")


def _not_found(path: Path, name: str, n: int) -> str:
    first = printable(os.path.join(path.parent, name))
    return (
        f"{printable(path)}: none of its {n} images was found, the first not at {first}; file_name is relative to the "
        f"table's folder{_hint(name, path.parent)}"
    )


def _hint(name: str, folder: Path) -> str:
    """What would have been found under another name."""
    if "://" in name:
        return "; URLs are not fetched: download the images first"
    plain = name.strip().replace("\\", "/")
    fixes = ["write / instead of \\"] if "\\" in name else []
    if plain != name.replace("\\", "/"):
        fixes.append("remove the spaces around it")
    for extension in ("", *sorted(EXTENSIONS), *map(str.upper, sorted(EXTENSIONS))):
        for candidate, fix in (
            (folder / (plain + extension), ""),
            (Path(plain + extension), "it is relative to the working folder"),
            (folder / (os.path.basename(plain) + extension), "leave its folder out"),
        ):
            if os.path.isfile(candidate):
                added = ["add the ending"] if extension else []
                return f"; {printable(candidate)} exists: {', '.join([*fixes, *added, *([fix] if fix else [])])}"
    return f"; {', '.join(fixes)}" if fixes else ""


SOURCE = Source("a .csv table of file_name,label", _accepts, set_of_table)
