"""One file a score: its equation, source and checks. The file's name is the score's."""
