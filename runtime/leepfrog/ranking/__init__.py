"""Rank models by their expected transfer accuracy or by a score."""
