"""The paper's analyses, and what a data set holds: each returns data, writes it, and draws its figure."""
