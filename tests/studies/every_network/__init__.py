"""Sweep over network architectures: which can be exported and ranked.

See README.md.
"""
