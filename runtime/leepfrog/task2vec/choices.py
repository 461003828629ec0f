"""Names and defaults shared with the command line, in a module that is cheap to import."""

DISTANCES = ("symmetric", "asymmetric", "normalized_cosine", "kl", "asymmetric_kl", "jensen_shannon")
"""Names of the distances between tasks; see `leepfrog.task2vec.distances`."""

ESTIMATORS = ("signs", "sampled", "exact")
"""Names of the estimators of the expectation over labels; see `leepfrog.task2vec.cotangents`."""

DEFAULT_ESTIMATOR = "signs"
DEFAULT_TOLERANCE = 0.01
