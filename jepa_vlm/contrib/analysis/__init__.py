"""The paper's analyses: each returns its numbers and draws its figure."""
