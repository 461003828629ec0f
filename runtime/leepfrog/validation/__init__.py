"""The truth that scores promise to foretell, and how well they do."""
