"""Receipts: what made a result, so that a second run can be held against it."""
