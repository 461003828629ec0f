"""Distances between tasks as a result."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from leepfrog.results import Result


@dataclasses.dataclass(frozen=True)
class ComparedTask:
    """An embedded task.

    Attributes:
        name: of the task.
        file: where its embedding lies.
        noise: about how far another embedding of the same task would lie, in the symmetric distance.
    """

    name: str
    file: str
    noise: float


@dataclasses.dataclass(frozen=True)
class DistanceTable(Result):
    """Distances between tasks.

    Attributes:
        tasks: in the order of rows and columns.
        distances: by kind, a row for each task.
    """

    kind: ClassVar = "distances"
    schema_version: ClassVar = 1

    tasks: tuple[ComparedTask, ...]
    distances: dict[str, tuple[tuple[float, ...], ...]]
