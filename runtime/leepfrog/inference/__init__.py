"""Models: read their files, run them, cache their outputs."""
