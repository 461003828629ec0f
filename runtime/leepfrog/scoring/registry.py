"""All scores by name: a new one is a file beside this, a line in SCORES, and its name in names.py."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from leepfrog.arguments import check_name, several
from leepfrog.scoring.gbc import score_gbc
from leepfrog.scoring.h_score import score_h_score
from leepfrog.scoring.knn import score_knn
from leepfrog.scoring.leep import score_leep, score_leep_loo
from leepfrog.scoring.leep_temperature import score_leep_loo_t
from leepfrog.scoring.linear_probe import score_linear_probe
from leepfrog.scoring.logme import score_logme
from leepfrog.scoring.n_leep import score_n_leep
from leepfrog.scoring.nce import score_nce
from leepfrog.scoring.parc import score_parc
from leepfrog.scoring.ridge import score_ridge
from leepfrog.scoring.sample import Sample
from leepfrog.scoring.score import Score
from leepfrog.scoring.sfda import score_sfda
from leepfrog.scoring.transrate import score_transrate


@dataclasses.dataclass(frozen=True)
class Definition:
    """A score as the rest of the program knows it.

    Attributes:
        name: on the command line and in results.
        reads: "probs" or "features".
        of: the score of a sample that has them.
    """

    name: str
    reads: str
    of: Callable[[Sample], Score]


SCORES = {
    definition.name: definition
    for definition in (
        Definition("leep_loo", "probs", score_leep_loo),
        Definition("leep", "probs", score_leep),
        Definition("leep_loo_t", "probs", score_leep_loo_t),
        Definition("nce", "probs", score_nce),
        Definition("ridge", "features", score_ridge),
        Definition("knn", "features", score_knn),
        Definition("linear_probe", "features", score_linear_probe),
        Definition("n_leep", "features", score_n_leep),
        Definition("logme", "features", score_logme),
        Definition("h_score", "features", score_h_score),
        Definition("gbc", "features", score_gbc),
        Definition("sfda", "features", score_sfda),
        Definition("transrate", "features", score_transrate),
        Definition("parc", "features", score_parc),
    )
}


def chosen_scores(names: str | Sequence[str]) -> list[Definition]:
    """One or several scores by name, each once, in the order asked for; "all" stands for all of them.

    Raises:
        UsageError: a name is unknown.
    """
    found: dict[str, Definition] = {}
    for name in several(names):
        check_name("score", name, (*SCORES, "all"))
        found.update(SCORES if name == "all" else {name: SCORES[name]})
    return list(found.values())
