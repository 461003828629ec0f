"""All scores as functions of arrays: `leepfrog.scores.NAME(features or probs, labels)` returns a `Score`.

>>> import numpy as np
>>> from leepfrog import scores
>>> scores.nce(np.eye(3)[[0, 1, 2, 0]], [7, 5, 6, 7]).value
0.0
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from leepfrog.scoring.names import SCORE_NAMES
from leepfrog.scoring.score import Score

if TYPE_CHECKING:  # for their signatures; a score not listed here is a Callable[..., Score]
    from leepfrog.scoring.scores.etran import etran as etran
    from leepfrog.scoring.scores.few_shot import few_shot as few_shot
    from leepfrog.scoring.scores.gbc import gbc as gbc
    from leepfrog.scoring.scores.h_score import h_score as h_score
    from leepfrog.scoring.scores.knn import knn as knn
    from leepfrog.scoring.scores.leep import leep as leep
    from leepfrog.scoring.scores.leep_loo import leep_loo as leep_loo
    from leepfrog.scoring.scores.leep_loo_t import leep_loo_t as leep_loo_t
    from leepfrog.scoring.scores.linear_probe import linear_probe as linear_probe
    from leepfrog.scoring.scores.logme import logme as logme
    from leepfrog.scoring.scores.n_leep import n_leep as n_leep
    from leepfrog.scoring.scores.nce import nce as nce
    from leepfrog.scoring.scores.ncti import ncti as ncti
    from leepfrog.scoring.scores.parc import parc as parc
    from leepfrog.scoring.scores.ped import ped as ped
    from leepfrog.scoring.scores.ridge import ridge as ridge
    from leepfrog.scoring.scores.sfda import sfda as sfda
    from leepfrog.scoring.scores.transrate import transrate as transrate

__all__ = ["Score", *sorted(SCORE_NAMES)]


def __getattr__(name: str) -> Callable[..., Score]:
    if name not in SCORE_NAMES:
        raise AttributeError(f"module 'leepfrog.scores' has no attribute {name!r}")
    function: Callable[..., Score] = getattr(importlib.import_module(f"leepfrog.scoring.scores.{name}"), name)
    return function


def __dir__() -> list[str]:
    return __all__
