"""Tables of text, however they are shown: on a terminal, as Markdown, in a report, in a notebook."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar

_Row = TypeVar("_Row")


class Table(NamedTuple):
    """A table of text.

    Attributes:
        header: the columns' titles.
        rows: cells, as many a row as there are columns.
        numbers: which columns hold numbers, which are aligned on the right.
        least: titles of columns that a narrow terminal can do without, the least important first.
    """

    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    numbers: tuple[bool, ...]
    least: tuple[str, ...] = ()


Part = str | list[str] | Table
"""What a result is shown as: a sentence, several lines that belong together, or a table."""


class Column(NamedTuple, Generic[_Row]):
    """A column of a table: its title, a row's cell, and whether it holds numbers."""

    title: str
    cell: Callable[[_Row], str]
    number: bool = True


def table_of(columns: Iterable[Column[_Row]], rows: Iterable[_Row], least: tuple[str, ...] = ()) -> Table:
    """A table with a row for each of `rows`.

    >>> table_of([Column("n", str), Column("name", "abc".__getitem__, number=False)], [1, 2]).rows
    [('1', 'b'), ('2', 'c')]
    """
    columns = tuple(columns)
    return Table(
        tuple(column.title for column in columns),
        [tuple(column.cell(row) for column in columns) for row in rows],
        tuple(column.number for column in columns),
        least,
    )
