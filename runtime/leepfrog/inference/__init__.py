"""Models: read their files, run them, keep what they put out."""
