"""Every score as a function of arrays: `leepfrog.scores.NAME(features or probs, labels)` gives a `Score`.

>>> import numpy as np
>>> from leepfrog import scores
>>> scores.nce(np.eye(3)[[0, 1, 2, 0]], [7, 5, 6, 7]).value
0.0
"""

from __future__ import annotations

from leepfrog.scoring.gbc import gbc
from leepfrog.scoring.h_score import h_score
from leepfrog.scoring.knn import knn
from leepfrog.scoring.leep import leep, leep_loo
from leepfrog.scoring.leep_temperature import leep_loo_t
from leepfrog.scoring.linear_probe import linear_probe
from leepfrog.scoring.logme import logme
from leepfrog.scoring.n_leep import n_leep
from leepfrog.scoring.nce import nce
from leepfrog.scoring.parc import parc
from leepfrog.scoring.ridge import ridge
from leepfrog.scoring.score import Score
from leepfrog.scoring.sfda import sfda
from leepfrog.scoring.transrate import transrate

__all__ = [
    "Score",
    "gbc",
    "h_score",
    "knn",
    "leep",
    "leep_loo",
    "leep_loo_t",
    "linear_probe",
    "logme",
    "n_leep",
    "nce",
    "parc",
    "ridge",
    "sfda",
    "transrate",
]
