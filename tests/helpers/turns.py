"""Turns of the workers of pytest-xdist: tests run side by side, but one that measures time runs alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: all tests run side by side
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def turn(folder: Path, alone: bool) -> Iterator[None]:
    """Hold a lock that tests share, or one that none shares.

    Whoever waits for the lock keeps the door, so that a test that must be alone starts once the others' current tests
    are over.

    Args:
        folder: where the two lock files are, the same for all workers.
        alone: whether no other test may run in the block.
    """
    if fcntl is None:
        yield
        return
    with open(folder / "running.lock", "w") as running:
        with open(folder / "door.lock", "w") as door:
            fcntl.flock(door, fcntl.LOCK_EX)
            fcntl.flock(running, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
