"""Names and defaults shared with the command line, in a module that is fast to import."""

CRITERIA = ("score", "rank", "latency", "size")
"""Names of the criteria; see `leepfrog.gate.check`."""

DEFAULT_CRITERIA = ("score", "rank", "size")

# In standard errors of the baseline score: a quarter of the typical change between samples of images.
SCORE_TOLERANCE = 0.25
LATENCY_TOLERANCE = 0.25
# Absolute or relative tolerance for all numbers in a result.
VERIFY_TOLERANCE = 1e-3
