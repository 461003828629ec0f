"""Runners for units of work, in this process or, through the same interface, elsewhere."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Generator, Iterable
from typing import Protocol

from leepfrog.execution.pipeline import Unreadable
from leepfrog.execution.unit import Block, Unit, blocks_of


class Runner(Protocol):
    """Interface of runners, which execute units with `run_unit` or `blocks_of` in any process or on any machine.

    >>> from concurrent.futures import ProcessPoolExecutor
    >>> from leepfrog.execution.unit import run_unit
    >>> class Processes:
    ...     def map(self, units):
    ...         with ProcessPoolExecutor() as pool:
    ...             for blocks in pool.map(run_unit, units):
    ...                 yield from blocks
    """

    def map(self, units: Iterable[Unit]) -> Generator[Block | Unreadable, None, None]:
        """Yield all blocks of the units, in any order. The caller closes the generator (`contextlib.closing`)."""


@dataclasses.dataclass(frozen=True)
class LocalRunner:
    """Runner that executes units in this process, one after another, on `Unit.threads` threads."""

    def map(self, units: Iterable[Unit]) -> Generator[Block | Unreadable, None, None]:
        """Yield the blocks of the units as they are computed."""
        for unit in units:
            with contextlib.closing(blocks_of(unit)) as blocks:
                yield from blocks
