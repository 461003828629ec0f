"""Progress and notices of long operations. The command line draws bars; other callers may pass their own listener."""

from __future__ import annotations

import logging
from typing import Protocol

from leepfrog.files import printable

_LOGGER = logging.getLogger("leepfrog")


class Progress(Protocol):
    """Progress-reporting protocol for long-running operations."""

    def plan(self, text: str) -> None:
        """Announce long work: its size and, if known, its duration."""

    def start(self, what: str, total: int) -> None:
        """Begin a stage of `total` steps, which ends the previous stage, if any."""

    def advance(self, steps: int) -> None:
        """Report that `steps` more steps of the stage are done."""

    def notice(self, text: str) -> None:
        """Report something the user should know, such as a cache that cannot be written."""


class SilentProgress:
    """Default listener, which shows no progress and logs notices as warnings of the logger "leepfrog".

    Python prints warnings to stderr unless the program has configured logging otherwise.

    >>> SilentProgress().start("scoring", 3)
    """

    def plan(self, text: str) -> None:
        """Show nothing."""

    def start(self, what: str, total: int) -> None:
        """Show nothing."""

    def advance(self, steps: int) -> None:
        """Show nothing."""

    def notice(self, text: str) -> None:
        """Log a warning."""
        _LOGGER.warning("%s", printable(text))
