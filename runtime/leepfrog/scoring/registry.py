"""All scores by name, from the modules of `leepfrog.scoring.scores`."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from leepfrog.arguments import check_name, several
from leepfrog.scoring import scores
from leepfrog.scoring.definition import DEFINED, Definition
from leepfrog.scoring.names import SCORE_NAMES

for _name in SCORE_NAMES:
    importlib.import_module(f"{scores.__name__}.{_name}")

SCORES = {name: DEFINED[name] for name in SCORE_NAMES}
"""All scores by name, in display order."""


def chosen_scores(names: str | Sequence[str]) -> list[Definition]:
    """Return scores by name, without duplicates, in the order requested; "all" selects every score.

    Raises:
        UsageError: a name is unknown.
    """
    chosen: dict[str, Definition] = {}
    for name in several(names):
        check_name("score", name, (*SCORES, "all"))
        chosen.update(SCORES if name == "all" else {name: SCORES[name]})
    return list(chosen.values())
