"""Names of the scores, available without importing the scores (for help and completion)."""

import pkgutil

from leepfrog.scoring import scores

# Display order: scores of predictions before scores of features, held-out scores first. Scores not listed come last.
_ORDER = (
    "leep_loo", "leep", "leep_loo_t", "nce",
    "ridge", "few_shot", "knn", "linear_probe",
    "n_leep", "logme", "h_score", "gbc", "sfda", "ped", "ncti", "etran", "transrate", "parc",
)  # fmt: skip


def _place(name: str) -> tuple[int, str]:
    return (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)


SCORE_NAMES = tuple(sorted((module.name for module in pkgutil.iter_modules(scores.__path__)), key=_place))
"""Names of all modules of `leepfrog.scoring.scores`, in display order."""
