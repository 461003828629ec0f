"""Shared by tests of rankings: two fast models, a progress listener, and comparison of rankings."""

from __future__ import annotations

import numpy as np
from leepfrog.ranking.result import Ranking

FAST = ("mobilenet_v2", "efficientnet_lite0")


class Listener:
    """leepfrog.progress.Progress that records its calls."""

    def __init__(self) -> None:
        self.stages: dict[str, list[int]] = {}
        self.notices: list[str] = []
        self.plans: list[str] = []

    def plan(self, text: str) -> None:
        self.plans.append(text)

    def start(self, what: str, total: int) -> None:
        self.stages[what] = [0, total]

    def advance(self, steps: int) -> None:
        next(reversed(self.stages.values()))[0] += steps

    def notice(self, text: str) -> None:
        self.notices.append(text)


def values(ranking: Ranking) -> dict[str, tuple[float, float]]:
    return {m.name: (m.scores["leep"].value, m.scores["leep_loo"].value) for m in ranking.models}


def close(ranking: Ranking, other: Ranking) -> bool:
    left, right = values(ranking), values(other)
    return left.keys() == right.keys() and all(np.allclose(left[k], right[k], rtol=0, atol=1e-6) for k in left)
