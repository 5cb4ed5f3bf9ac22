"""A comparison from start to end: find the runs it needs, train those that are missing, and ask all models the same."""
