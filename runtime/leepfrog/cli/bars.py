"""Progress bars on a terminal's stderr; silence elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING

from leepfrog.cli.output import remark

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Bars:
    """A leepfrog.progress.Progress that draws one bar a stage. Use it in a `with` block."""

    def __init__(self, quiet: bool = False) -> None:
        """Draw nothing where `quiet`, or where stderr is no terminal."""
        self._quiet = quiet
        self._bars: Progress | None = None
        self._stage: TaskID | None = None
        if not quiet and sys.stderr is not None and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )

    def __enter__(self) -> Bars:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bars:
            self._bars.stop()

    def start(self, what: str, total: int) -> None:
        """Begin a stage; the bar of the stage before goes."""
        if self._bars:
            if self._stage is not None:
                self._bars.remove_task(self._stage)
            self._stage = self._bars.add_task(what, total=total)

    def advance(self, steps: int) -> None:
        """Move the stage's bar."""
        if self._bars and self._stage is not None:
            self._bars.advance(self._stage, steps)

    def notice(self, text: str) -> None:
        """Print a remark without tearing the bar."""
        if self._quiet:
            return
        if self._bars:
            self._bars.console.print(text, markup=False, highlight=False)
        else:
            remark(text)
