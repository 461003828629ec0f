"""Costs of models: the values, the places that measure them, and the measurement itself."""
