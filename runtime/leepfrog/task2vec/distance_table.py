"""Result type for distances between tasks."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from leepfrog.results import Result


@dataclasses.dataclass(frozen=True)
class ComparedTask:
    """A task in a distance table.

    Attributes:
        name: name of the task.
        file: file of the task's embedding.
        noise: approximate symmetric distance to another embedding of the same task.
    """

    name: str
    file: str
    noise: float


@dataclasses.dataclass(frozen=True)
class DistanceTable(Result):
    """Distances between tasks.

    Attributes:
        tasks: tasks in the order of rows and columns.
        distances: distance matrices by kind, one row per task.
    """

    kind: ClassVar = "distances"
    schema_version: ClassVar = 1

    tasks: tuple[ComparedTask, ...]
    distances: dict[str, tuple[tuple[float, ...], ...]]
