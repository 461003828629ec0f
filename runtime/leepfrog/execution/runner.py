"""Runners of units of work: this process, or, behind the same interface, workers elsewhere."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Generator, Iterable
from typing import Protocol

from leepfrog.execution.pipeline import Unreadable
from leepfrog.execution.unit import Block, Unit, blocks_of


class Runner(Protocol):
    """Runs units with `run_unit` or `blocks_of`, in any process or on any machine.

    >>> from concurrent.futures import ProcessPoolExecutor
    >>> from leepfrog.execution.unit import run_unit
    >>> class Processes:
    ...     def map(self, units):
    ...         with ProcessPoolExecutor() as pool:
    ...             for blocks in pool.map(run_unit, units):
    ...                 yield from blocks
    """

    def map(self, units: Iterable[Unit]) -> Generator[Block | Unreadable, None, None]:
        """All blocks of the units, in any order. The caller closes the generator (`contextlib.closing`)."""


@dataclasses.dataclass(frozen=True)
class LocalRunner:
    """Runs units in this process, one after the other, on `Unit.threads` threads."""

    def map(self, units: Iterable[Unit]) -> Generator[Block | Unreadable, None, None]:
        """The blocks of the units, as they are computed."""
        for unit in units:
            with contextlib.closing(blocks_of(unit)) as blocks:
                yield from blocks
