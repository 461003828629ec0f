"""One module per score: its equation, source and checks. The module is named after the score."""
