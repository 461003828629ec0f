"""Layout of tables and sentences on a terminal: width, choice of columns, colors."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from unicodedata import combining, east_asian_width

from leepfrog.escape import plain
from leepfrog.tables import Emphasis, Part, Table

# Styles of Rich.
_STYLES = {Emphasis.headline: "bold", Emphasis.header: "bold", Emphasis.best: "green", Emphasis.dim: "dim"}

Line = tuple[str, Emphasis]


@dataclasses.dataclass(frozen=True)
class Layout:
    """Layout of a result that is shown as text.

    Attributes:
        width: width of the terminal in columns, None if there is none. Sentences are wrapped; tables omit their least
            important columns.
        columns: titles of the columns to show, with or without their unit; empty for all.
        wide: whether to show all columns of a table that is wider than the terminal.
        colors: whether to use colors.
    """

    width: int | None = None
    columns: tuple[str, ...] = ()
    wide: bool = False
    colors: bool = False

    @classmethod
    def of(cls, output: Path | None, wide: bool = False, columns: Sequence[str] = ()) -> Layout:
        """Return the layout for a file, or for stdout: with a width and colors only if that is a terminal."""
        if output is not None or sys.stdout is None or not sys.stdout.isatty():
            return cls(columns=tuple(columns))
        colors = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        width = shutil.get_terminal_size((0, 0)).columns or None
        return cls(width, tuple(columns), wide or bool(columns), colors)


PLAIN = Layout()


def as_lines(parts: Sequence[Part], layout: Layout = PLAIN) -> str:
    """Return sentences and tables as lines of text, with an empty line between two parts."""
    shown = [list(_lines(part, layout)) for part in chosen_columns(parts, layout.columns)]
    if shown and not isinstance(parts[0], Table):
        first = parts[0] if isinstance(parts[0], str) else parts[0][0]
        headline = len(list(_wrapped(first, layout)))
        shown[0][:headline] = [(text, Emphasis.headline) for text, _ in shown[0][:headline]]
    if not layout.colors:
        return "\n\n".join("\n".join(text for text, _ in lines) for lines in shown)
    return "\n\n".join(map(_colored, shown))


def as_table(table: Table, layout: Layout = PLAIN) -> str:
    """Return an aligned plain-text table. Cells are never truncated or wrapped; omitted columns are named below it."""
    return "\n".join(text for text, _ in _lines(table, layout))


def chosen_columns(parts: Sequence[Part], titles: Sequence[str]) -> list[Part]:
    """Return the parts, with only these columns of the table that has most of them.

    A line at the end names unknown titles: a result that took minutes is not lost.
    """
    tables = [part for part in parts if isinstance(part, Table)]
    if not titles or not tables:
        return list(parts)
    main = max(tables, key=lambda table: (sum(table.has([title]) for title in titles), len(table.header)))
    known = [title for title in titles if main.has([title])]
    shown: list[Part] = [main.only(known) if part is main and known else part for part in parts]
    if len(known) < len(titles):
        unknown = ", ".join(title for title in titles if title not in known)
        shown.append(f"--columns: this table has no column {unknown}; it has {', '.join(main.header)}")
    return shown


def _wrapped(text: str, layout: Layout) -> Iterator[str]:
    if layout.width is None:
        yield plain(text)
    else:
        wrapper = textwrap.TextWrapper(layout.width, break_long_words=False, break_on_hyphens=False)
        yield from wrapper.wrap(plain(text)) or [""]


def _lines(part: Part, layout: Layout) -> Iterator[Line]:
    if not isinstance(part, Table):
        for sentence in [part] if isinstance(part, str) else part:
            yield from ((line, Emphasis.none) for line in _wrapped(sentence, layout))
        return
    cells = [[plain(cell) for cell in row] for row in (part.header, *part.rows)]
    widths = [max(_width(row[i]) for row in cells) for i in range(len(part.header))]
    shown, omitted = list(range(len(part.header))), []
    for column in (part.header.index(title) for title in part.least if title in part.header):
        if layout.width is None or layout.wide or sum(widths[i] + 2 for i in shown) - 2 <= layout.width:
            break
        shown.remove(column)
        omitted.append(column)

    def line(row: Sequence[str]) -> str:
        padded = []
        for i in shown:
            space = " " * (widths[i] - _width(row[i]))
            padded.append(space + row[i] if part.numbers[i] else row[i] + space)
        return "  ".join(padded).rstrip()

    yield line(cells[0]), Emphasis.header
    yield "  ".join("-" * widths[i] for i in shown), Emphasis.dim
    emphasis = part.emphasis or [Emphasis.none] * len(part.rows)
    yield from zip(map(line, cells[1:]), emphasis, strict=True)
    if omitted:
        names = ", ".join(cells[0][i] for i in sorted(omitted))
        yield from ((text, Emphasis.dim) for text in _wrapped(f"(omitted to fit: {names}; --wide shows all)", layout))


def _colored(lines: Sequence[Line]) -> str:
    from rich.color import ColorSystem
    from rich.style import Style

    styles = {emphasis: Style.parse(style) for emphasis, style in _STYLES.items()}
    return "\n".join(
        styles[emphasis].render(text, color_system=ColorSystem.STANDARD) if emphasis in styles and text else text
        for text, emphasis in lines
    )


def _width(text: str) -> int:
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)
