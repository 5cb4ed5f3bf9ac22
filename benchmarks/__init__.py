"""Measurements: run from the root of a checkout, as ``python -m benchmarks.NAME``."""
