"""Scoring models: reading their files, running them and caching their outputs."""
