"""Scores: one module per score in `scores`, and the code they share."""
