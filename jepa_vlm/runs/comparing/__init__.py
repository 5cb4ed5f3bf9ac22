"""A comparison from start to end: which runs it needs, training those that are missing, asking all of them the same."""
