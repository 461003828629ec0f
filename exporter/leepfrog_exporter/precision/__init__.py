"""Scoring models in lower precision: float16, and int8 calibrated on the user's images."""
