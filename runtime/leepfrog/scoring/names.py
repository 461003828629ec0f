"""The scores' names, for those who must not wait for the scores' imports (help, completion)."""

import pkgutil

from leepfrog.scoring import scores

# In the order in which they are shown: predictions before features, and what leaves images out first. Others follow.
_ORDER = (
    "leep_loo", "leep", "leep_loo_t", "nce",
    "ridge", "few_shot", "knn", "linear_probe",
    "n_leep", "logme", "h_score", "gbc", "sfda", "ped", "ncti", "etran", "transrate", "parc",
)  # fmt: skip


def _place(name: str) -> tuple[int, str]:
    return (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)


SCORE_NAMES = tuple(sorted((module.name for module in pkgutil.iter_modules(scores.__path__)), key=_place))
"""The names of all modules of `leepfrog.scoring.scores`."""
