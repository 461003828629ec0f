"""Tests run in parallel, except those marked `alone`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import turns
from turns import turn

pytestmark = pytest.mark.skipif(turns.fcntl is None, reason="no shared file locks on this system")


def test_turns_overlap_unless_one_is_alone(tmp_path: Path) -> None:
    both = threading.Barrier(2, timeout=30)
    with ThreadPoolExecutor(2) as pool:
        for shared in [pool.submit(within, tmp_path, False, both.wait) for _ in range(2)]:
            shared.result()


def within(folder: Path, alone: bool, do: Callable[[], object]) -> None:
    with turn(folder, alone):
        do()


def test_who_is_alone_waits_for_others_and_is_before_those_who_come_later(tmp_path: Path) -> None:
    running, order = threading.Event(), []
    with ThreadPoolExecutor(3) as pool, turn(tmp_path, alone=False):
        alone = pool.submit(within, tmp_path, True, lambda: (running.wait(0.2), order.append("alone")))
        while not (tmp_path / "door.lock").exists() or is_free(tmp_path / "door.lock"):
            assert not alone.done()
        later = pool.submit(within, tmp_path, False, lambda: order.append("later"))
        assert not later.done()
        order.append("first")
    assert order == ["first", "alone", "later"]


def is_free(lock: Path) -> bool:
    """Check whether no worker holds the lock."""
    import fcntl

    with open(lock) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
