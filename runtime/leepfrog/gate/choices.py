"""Names and defaults that the command line shows as well, in a module that is quick to import."""

CRITERIA = ("score", "rank", "latency", "size")
"""See `leepfrog.gate.check`."""

DEFAULT_CRITERIA = ("score", "rank", "size")

# In standard errors of the baseline's score: a quarter of what other images would change.
TOLERANCE = 0.25
LATENCY_TOLERANCE = 0.25
