"""Who long work tells how far it is. The command line draws bars; other callers may pass their own."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A listener."""

    def start(self, what: str, total: int) -> None:
        """A stage of `total` steps begins; the stage before it, if any, is over."""

    def advance(self, steps: int) -> None:
        """So many steps of the stage are done."""

    def notice(self, text: str) -> None:
        """Something worth a line happened."""


class Silent:
    """A listener that says nothing."""

    def start(self, what: str, total: int) -> None:
        """Say nothing."""

    def advance(self, steps: int) -> None:
        """Say nothing."""

    def notice(self, text: str) -> None:
        """Say nothing."""
