"""Names and defaults that the command line shows as well, in a module that is quick to import."""

DISTANCES = ("symmetric", "asymmetric", "normalized_cosine", "kl", "asymmetric_kl", "jensen_shannon")
"""See `leepfrog.task2vec.distances`."""

ESTIMATORS = ("signs", "sampled", "exact")
"""See `leepfrog.task2vec.cotangents`."""

DEFAULT_ESTIMATOR = "signs"
DEFAULT_TOLERANCE = 0.01
