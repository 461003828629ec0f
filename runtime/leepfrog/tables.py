"""Tables of text, independent of how they are shown: on a terminal, as Markdown, in a report, in a notebook."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar

_Row = TypeVar("_Row")


class Emphasis(enum.Enum):
    """Emphasis of a line where colors are available."""

    none = enum.auto()
    headline = enum.auto()
    header = enum.auto()
    best = enum.auto()
    dim = enum.auto()


class Table(NamedTuple):
    """A table of text.

    Attributes:
        header: titles of the columns.
        rows: cells of each row, one per column.
        numbers: whether each column holds numbers, which are right-aligned.
        least: titles of columns that a narrow terminal omits, the least important first.
        emphasis: emphasis of each row; empty for none.
    """

    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    numbers: tuple[bool, ...]
    least: tuple[str, ...] = ()
    emphasis: Sequence[Emphasis] = ()

    def has(self, titles: Sequence[str]) -> bool:
        """Return whether the table has all of these columns; titles match in any case, and without their unit."""
        return all(self._place(title) is not None for title in titles)

    def only(self, titles: Sequence[str]) -> Table:
        """Return the table with only these columns, which it must have, in this order.

        >>> Table(("model", "size MB"), [("a", "14.0")], (False, True)).only(["Size"]).rows
        [('14.0',)]
        """
        places = [place for title in titles if (place := self._place(title)) is not None]
        return self._replace(
            header=tuple(self.header[place] for place in places),
            rows=[tuple(row[place] for place in places) for row in self.rows],
            numbers=tuple(self.numbers[place] for place in places),
        )

    def _place(self, title: str) -> int | None:
        wanted, exact = title.casefold(), [name.casefold() for name in self.header]
        for names in (exact, [name.split(" ")[0] for name in exact]):
            if wanted in names:
                return names.index(wanted)
        return None


Part = str | list[str] | Table
"""Part of a result as it is shown: a sentence, several lines that belong together, or a table."""


class Column(NamedTuple, Generic[_Row]):
    """A column of a table: its title, the function that returns a row's cell, and whether it holds numbers."""

    title: str
    cell: Callable[[_Row], str]
    number: bool = True


def table_of(
    columns: Iterable[Column[_Row]],
    rows: Iterable[_Row],
    least: tuple[str, ...] = (),
    emphasis: Callable[[_Row], Emphasis] | None = None,
) -> Table:
    """Return a table with one row for each of `rows`; see `Table` for the other arguments.

    >>> table_of([Column("n", str), Column("name", "abc".__getitem__, number=False)], [1, 2]).rows
    [('1', 'b'), ('2', 'c')]
    """
    columns, rows = tuple(columns), list(rows)
    return Table(
        tuple(column.title for column in columns),
        [tuple(column.cell(row) for column in columns) for row in rows],
        tuple(column.number for column in columns),
        least,
        () if emphasis is None else [emphasis(row) for row in rows],
    )
