"""Rendering of results as terminal tables, Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from leepfrog.cli.layout import PLAIN, Layout, as_lines, chosen_columns
from leepfrog.errors import UsageError
from leepfrog.escape import csv_cell, json_text, markdown, markdown_paragraph
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
    layout: Layout = PLAIN,
    records: Sequence[Mapping[str, object]] | None = None,
) -> str:
    """Render a result in a format.

    Args:
        written_as: the format.
        result: the result, for JSON.
        parts: sentences and tables, for terminals and Markdown.
        layout: layout of tables.
        records: rows of the CSV, all with the same keys; None for the rows of the last table.
    """
    if written_as is Format.json:
        return as_json(result.as_dict())
    if written_as is Format.csv:
        if records is not None:
            return as_csv(list(records[0]), [list(record.values()) for record in records])
        table = [part for part in parts if isinstance(part, Table)][-1]
        return as_csv(table.header, table.rows)
    if written_as is Format.table:
        return as_lines(parts, layout)
    return "\n\n".join(map(_markdown, chosen_columns(parts, layout.columns)))


def _markdown(part: Part) -> str:
    if isinstance(part, Table):
        return as_markdown(part)
    if isinstance(part, str):
        return markdown_paragraph(part)
    return "\n".join(f"- {markdown_paragraph(line)}" for line in part)


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
