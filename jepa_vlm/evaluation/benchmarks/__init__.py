"""Benchmarks: sets of multiple-choice items, asked for by name."""

from jepa_vlm.evaluation.benchmarks import playground as playground  # files itself
from jepa_vlm.evaluation.benchmarks.benchmark import BENCHMARKS, Benchmark, load_benchmark

__all__ = ["BENCHMARKS", "Benchmark", "load_benchmark"]
