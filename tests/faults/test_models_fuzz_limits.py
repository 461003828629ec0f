"""Time limit of the fuzz tests: a hang fails the test and is counted, and its input is saved (fault 3)."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import pytest
import tally


def test_fault_03_fuzzing_a_hang_of_python_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "KEPT", tmp_path)
    monkeypatch.setattr(tally, "HANGS", hangs := Counter())
    with tally.limited("quick ones", damaged_npz=b"x"):
        pass
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="refused"), tally.limited("refused ones", damaged_npz=b"x"):
        raise ValueError("refused")
    assert not list(tmp_path.iterdir())

    def swallows() -> None:
        """Swallow exceptions, as a parser that maps all errors to one does."""
        with contextlib.suppress(Exception):
            time.sleep(60)

    with pytest.raises(AssertionError, match=r"slow ones: more than 0\.05 s; the input is kept in"):  # noqa: SIM117
        with tally.limited("slow ones", 0.05, damaged_npz=b"content"):
            swallows()
    assert hangs == {"slow ones": 1}
    assert [path.read_bytes() for path in tmp_path.glob("slow-ones-*/damaged.npz")] == [b"content"]


def test_fault_03_fuzzing_a_hang_of_native_code_ends_the_process(tmp_path: Path) -> None:
    """Sleeping in C with the GIL held and signals blocked simulates a decoder that never returns."""
    code = f"""
        import ctypes, signal, sys
        sys.path.insert(0, {os.path.dirname(tally.__file__)!r})
        from pathlib import Path
        import tally
        tally.KEPT = Path({os.fspath(tmp_path)!r})
        libc = ctypes.PyDLL(None)
        with tally.limited("images", 0.2, damaged_png=b"content"):
            for _ in range(1000):
                signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
                libc.sleep(60)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, timeout=60, check=False)
    assert done.returncode == 1
    (kept,) = tmp_path.iterdir()
    assert (kept / "damaged.png").read_bytes() == b"content"
    assert "Timeout" in (kept / "stack.txt").read_text()
