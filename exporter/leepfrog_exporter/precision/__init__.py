"""Scoring models in fewer bits: float16, and int8 calibrated on the user's images."""
