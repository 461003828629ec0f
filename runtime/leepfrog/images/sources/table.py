"""Image source for CSV tables with the columns `file_name,label`."""

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
    """Return the images that a table lists.

    Raises:
        DataSetError: the table cannot be read, its columns or quotes are wrong, none of its files exists, or there are
            fewer than two classes.
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
                    f"{where}, line {line}: {len(row)} fields for {len(columns)} columns; fields that contain a comma "
                    "must be quoted"
                )
            if begun - line > 1 and _swallows_rows(row, len(columns), at):
                raise DataSetError(f"{where}, line {line}: a quote opened here closes {begun - line - 1} lines later")
            name, label = (row[i].strip() if i < len(row) else "" for i in at)
            if not name or not label:
                raise DataSetError(f"{where}, line {line}: file_name or label is empty")
            yield row[at[0]], label
    except csv.Error as error:
        raise DataSetError(f"{where}, line {begun}: cannot be read as a UTF-8 CSV table: {error}") from None


def _swallows_rows(row: Sequence[str], n_columns: int, at: Sequence[int]) -> bool:
    """Return whether a multi-line field looks like several rows.

    In a file name or label, a line with as many fields as a row does. In any field, including free text, where commas
    are common, a line with an image file name in the right column does.
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
            raise DataSetError(f"{where}: {columns.count(name)} columns are named {name}; keep only one of them")


def _not_found(path: Path, name: str, n: int) -> str:
    first = printable(os.path.join(path.parent, name))
    return (
        f"{printable(path)}: none of its {n} images was found; the first was expected at {first}; file_name is "
        f"relative to the table's folder{_hint(name, path.parent)}"
    )


def _hint(name: str, folder: Path) -> str:
    """Return a hint if a similar name exists or the name is malformed, else ""."""
    if "://" in name:
        return "; URLs are not fetched: download the images first"
    plain = name.strip().replace("\\", "/")
    fixes = ["use / instead of \\"] if "\\" in name else []
    if plain != name.replace("\\", "/"):
        fixes.append("remove the surrounding spaces")
    for extension in ("", *sorted(EXTENSIONS), *map(str.upper, sorted(EXTENSIONS))):
        for candidate, fix in (
            (folder / (plain + extension), ""),
            (Path(plain + extension), "it is relative to the working directory"),
            (folder / (os.path.basename(plain) + extension), "remove the folder from file_name"),
        ):
            if os.path.isfile(candidate):
                added = ["add the extension"] if extension else []
                return f"; {printable(candidate)} exists: {', '.join([*fixes, *added, *([fix] if fix else [])])}"
    return f"; {', '.join(fixes)}" if fixes else ""


SOURCE = Source("a .csv table with the columns file_name,label", _accepts, set_of_table)
