"""Rankings of models."""
