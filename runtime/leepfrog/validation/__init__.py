"""Validate scores against measured transfer accuracies."""
