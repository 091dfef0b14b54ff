"""Scores at 0, 4 and 8 shots, with the items kept so that arms can be compared pairwise."""
