"""Rendering of results as terminal tables, Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any
from unicodedata import combining, east_asian_width

from leepfrog.errors import UsageError
from leepfrog.escape import csv_cell, json_text, markdown, markdown_paragraph, plain
from leepfrog.results import Result
from leepfrog.tables import Part, Table


class Format(StrEnum):
    """Output formats of results."""

    table = "table"
    json = "json"
    csv = "csv"
    md = "md"


def chosen_format(wanted: Format | None, output: Path | None) -> Format:
    """Return the requested format, else that of the output's extension, else table; UsageError if that is unknown."""
    if wanted is not None:
        return wanted
    if output is None or output.suffix in ("", ".txt"):
        return Format.table
    try:
        return Format(output.suffix.removeprefix("."))
    except ValueError:
        known = ", ".join(f".{f.value}" for f in Format if f is not Format.table)
        raise UsageError(f"-o {output}: unknown extension (expected {known}); set the format with --format") from None


def as_text(
    written_as: Format,
    result: Result,
    parts: Sequence[Part],
    width: int | None = None,
    records: Sequence[Mapping[str, object]] | None = None,
) -> str:
    """Render a result in a format.

    Args:
        written_as: the format.
        result: the result, for JSON.
        parts: sentences and tables, for terminals and Markdown.
        width: width of the terminal in columns; None for tables as wide as their content.
        records: rows of the CSV, all with the same keys; None for the rows of the last table.
    """
    if written_as is Format.json:
        return as_json(result.as_dict())
    if written_as is Format.csv:
        if records is not None:
            return as_csv(list(records[0]), [list(record.values()) for record in records])
        table = [part for part in parts if isinstance(part, Table)][-1]
        return as_csv(table.header, table.rows)
    return "\n\n".join(_shown(part, written_as, width) for part in parts)


def _shown(part: Part, written_as: Format, width: int | None) -> str:
    """Render a part of a result for a terminal or as Markdown."""
    in_markdown = written_as is Format.md
    if isinstance(part, Table):
        return as_markdown(part) if in_markdown else as_table(part, width)
    if isinstance(part, str):
        return markdown_paragraph(part) if in_markdown else plain(part)
    return "\n".join(f"- {markdown_paragraph(line)}" if in_markdown else plain(line) for line in part)


def as_json(value: Any) -> str:
    """Return indented JSON; NaN and infinities become null."""
    return json_text(json.dumps(_without_nan(value), indent=2, ensure_ascii=False, allow_nan=False))


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_csv(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return comma-separated values, quoted where needed; text that a spreadsheet would evaluate is escaped."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(map(csv_cell, header))
    for row in rows:
        writer.writerow(csv_cell(cell) if isinstance(cell, str) else cell for cell in row)
    return stream.getvalue()


def as_markdown(table: Table) -> str:
    """Return a Markdown table."""
    cells = [[markdown(cell) for cell in row] for row in (table.header, *table.rows)]
    rule = ["---:" if number else ":---" for number in table.numbers]
    return "\n".join("| " + " | ".join(row) + " |" for row in (cells[0], rule, *cells[1:]))


def as_table(table: Table, width: int | None = None) -> str:
    """Return an aligned plain-text table. Cells are never truncated or wrapped.

    Args:
        table: the table.
        width: width of the terminal in columns. If the table does not fit, its least important columns are omitted and
            named in a line below it. None for a table as wide as its content.
    """
    cells = [[plain(cell) for cell in row] for row in (table.header, *table.rows)]
    widths = [max(_width(row[i]) for row in cells) for i in range(len(table.header))]
    shown, left_out = list(range(len(table.header))), []
    for column in (table.header.index(title) for title in table.least if title in table.header):
        if width is None or sum(widths[i] + 2 for i in shown) - 2 <= width:
            break
        shown.remove(column)
        left_out.append(column)

    def line(row: Sequence[str]) -> str:
        padded = []
        for i in shown:
            space = " " * (widths[i] - _width(row[i]))
            padded.append(space + row[i] if table.numbers[i] else row[i] + space)
        return "  ".join(padded).rstrip()

    lines = [line(cells[0]), "  ".join("-" * widths[i] for i in shown), *map(line, cells[1:])]
    if left_out:
        names = ", ".join(cells[0][i] for i in sorted(left_out))
        lines.append(f"(omitted to fit: {names}; --format csv or a pipe shows all)")
    return "\n".join(lines)


def _width(text: str) -> int:
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def terminal_width(output: Path | None) -> int | None:
    """Return the terminal width in columns, or None if the result goes elsewhere or the width is unknown."""
    if output is not None or sys.stdout is None or not sys.stdout.isatty():
        return None
    return shutil.get_terminal_size((0, 0)).columns or None
