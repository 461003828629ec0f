"""Images: find, decode, preprocess."""
