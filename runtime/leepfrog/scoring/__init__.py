"""Scores: `scores` has one file for each, beside it is what they share."""
