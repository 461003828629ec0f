"""Locks between pytest-xdist workers: tests run in parallel, except that tests which measure time run alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: no exclusive tests
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def turn(folder: Path, alone: bool) -> Iterator[None]:
    """Hold a shared lock, or an exclusive one if `alone`, while the block runs.

    A waiting worker also holds the "door" lock, which keeps other tests from starting; an exclusive test therefore runs
    as soon as the current tests have finished.

    Args:
        folder: folder of the two lock files, the same for all workers.
        alone: whether no other test may run during the block.
    """
    if fcntl is None:
        yield
        return
    with open(folder / "running.lock", "w") as running:
        with open(folder / "door.lock", "w") as door:
            fcntl.flock(door, fcntl.LOCK_EX)
            fcntl.flock(running, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
