"""Reproduce earlier results and compare them with the originals."""
