"""Torch networks: building, loading, fusing and tracing them. The only room that imports torch and its libraries."""
