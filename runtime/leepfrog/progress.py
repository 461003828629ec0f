"""Progress and notices of long-running work. The command line draws bars; other callers may pass their own listener."""

from __future__ import annotations

import logging
from typing import Protocol

from leepfrog.files import printable

_LOGGER = logging.getLogger("leepfrog")


class Progress(Protocol):
    """Receives the progress and notices of long-running work."""

    def start(self, what: str, total: int) -> None:
        """A stage of `total` steps begins; the stage before it, if any, is over."""

    def advance(self, steps: int) -> None:
        """So many steps of the stage are done."""

    def notice(self, text: str) -> None:
        """Something happened that the user should know, such as a cache that cannot be written."""


class SilentProgress:
    """The default listener: it shows no progress, and logs notices as warnings of the logger "leepfrog".

    Python prints warnings to stderr unless the program has configured logging otherwise.

    >>> SilentProgress().start("scoring", 3)
    """

    def start(self, what: str, total: int) -> None:
        """Show nothing."""

    def advance(self, steps: int) -> None:
        """Show nothing."""

    def notice(self, text: str) -> None:
        """Log a warning."""
        _LOGGER.warning("%s", printable(text))
