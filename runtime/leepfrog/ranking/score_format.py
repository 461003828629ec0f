"""Display formats of scores: titles, units and digits."""

from __future__ import annotations

import dataclasses

from leepfrog.ranking.combined import COMBINED
from leepfrog.ranking.goal_names import ACCURACY_OF


@dataclasses.dataclass(frozen=True)
class ScoreFormat:
    """Display format of a score.

    Attributes:
        title: column title.
        words: name of the score in sentences.
        unit: unit appended to values, "" for none.
        factor: factor that values are multiplied by for display.
        digits, interval_digits: decimal places of values and of interval bounds.
    """

    title: str
    words: str
    unit: str = ""
    factor: float = 1.0
    digits: int = 4
    interval_digits: int = 3

    def value(self, value: float, sign: str = "") -> str:
        """Format a value without its unit.

        >>> format_of("head_accuracy").value(0.8731)
        '87.3'
        """
        return f"{self.factor * value:{sign}z.{self.digits}f}"

    def interval(self, low: float, high: float) -> str:
        """Format an interval without a unit."""
        return f"{self.factor * low:.{self.interval_digits}f} to {self.factor * high:.{self.interval_digits}f}"


_TITLES = {"leep_loo": "LOO-LEEP", "leep": "LEEP"}


def format_of(name: str) -> ScoreFormat:
    """Return the display format of a score."""
    if name in ACCURACY_OF:
        return ScoreFormat("accuracy %", f"expected accuracy of {ACCURACY_OF[name]}", " %", 100.0, 1, 1)
    title = _TITLES.get(name, name)
    return ScoreFormat(title, title, digits=2, interval_digits=1) if name == COMBINED else ScoreFormat(title, title)


def points(loss: float) -> str:
    """Format a difference of accuracies, from 0 to 1, in percentage points."""
    return f"{100 * loss:.1f}"
