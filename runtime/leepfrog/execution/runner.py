"""Who runs units of work: this process, or, behind the same interface, workers elsewhere."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Generator, Iterable
from typing import Protocol

from leepfrog.execution.pipeline import Unreadable
from leepfrog.execution.unit import Block, Unit, blocks_of


class Runner(Protocol):
    """Runs units, each with `run_unit` or `blocks_of`, wherever it likes.

    >>> from concurrent.futures import ProcessPoolExecutor
    >>> from leepfrog.execution.unit import run_unit
    >>> class Processes:
    ...     def map(self, units):
    ...         with ProcessPoolExecutor() as pool:
    ...             for blocks in pool.map(run_unit, units):
    ...                 yield from blocks
    """

    def map(self, units: Iterable[Unit]) -> Generator[Block | Unreadable, None, None]:
        """Everything that the units give, in any order. The caller closes it (`contextlib.closing`)."""


@dataclasses.dataclass(frozen=True)
class LocalRunner:
    """Runs units in this process, one after the other, on as many threads as each of them says."""

    def map(self, units: Iterable[Unit]) -> Generator[Block | Unreadable, None, None]:
        """What each unit gives, as it comes."""
        for unit in units:
            with contextlib.closing(blocks_of(unit)) as blocks:
                yield from blocks
