"""The scores' names, for those who must not wait for their imports (`--help`)."""

SCORE_NAMES = (
    "leep_loo",
    "leep",
    "leep_loo_t",
    "nce",
    "ridge",
    "knn",
    "linear_probe",
    "n_leep",
    "logme",
    "h_score",
    "gbc",
    "sfda",
    "transrate",
    "parc",
)
