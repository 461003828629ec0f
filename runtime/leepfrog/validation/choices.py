"""Defaults shared with the command line, in a module that is fast to import."""

IMAGES = 1000
SPLITS = 3
SHOTS = 5
TASK_SCORES = ("leep", "leep_loo")
