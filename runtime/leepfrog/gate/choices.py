"""Names and defaults that the command line shows as well, in a module that is quick to import."""

CRITERIA = ("score", "rank", "latency", "size")
"""See `leepfrog.gate.check`."""

DEFAULT_CRITERIA = ("score", "rank", "size")

# In standard errors of the baseline's score: a quarter of what other images would change.
SCORE_TOLERANCE = 0.25
LATENCY_TOLERANCE = 0.25
# Absolute or relative, of all numbers in a result.
VERIFY_TOLERANCE = 1e-3
