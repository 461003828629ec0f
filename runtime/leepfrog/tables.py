"""Tables of text, independent of their display: on a terminal, as Markdown, in a report or in a notebook."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar

_Row = TypeVar("_Row")


class Table(NamedTuple):
    """A table of text.

    Attributes:
        header: titles of the columns.
        rows: cells of each row, one per column.
        numbers: for each column, whether it contains numbers, which are right-aligned.
        least: titles of columns that may be dropped on a narrow terminal, the least important first.
    """

    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    numbers: tuple[bool, ...]
    least: tuple[str, ...] = ()


Part = str | list[str] | Table
"""Part of a displayed result: a sentence, a group of lines, or a table."""


class Column(NamedTuple, Generic[_Row]):
    """Column of a table: its title, a function from a row to its cell, and whether it contains numbers."""

    title: str
    cell: Callable[[_Row], str]
    number: bool = True


def table_of(columns: Iterable[Column[_Row]], rows: Iterable[_Row], least: tuple[str, ...] = ()) -> Table:
    """Return a table with one row for each item of `rows`.

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
