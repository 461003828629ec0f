"""Defaults that the command line shows as well, in a module that is quick to import."""

IMAGES = 1000
SPLITS = 3
SHOTS = 5
TASK_SCORES = ("leep", "leep_loo")
