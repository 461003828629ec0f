"""Results run again and held against what they were."""
