"""Receipts: records of how results were made, for comparison with later runs."""
