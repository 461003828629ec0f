"""Scores: one file a score, each with its equation, source and checks."""
