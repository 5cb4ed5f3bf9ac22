"""Benchmarks: sets of multiple-choice items, asked for by name."""

from jepa_vlm.evaluation.benchmarks import blink as blink  # each files itself
from jepa_vlm.evaluation.benchmarks import mmvp as mmvp
from jepa_vlm.evaluation.benchmarks import playground as playground
from jepa_vlm.evaluation.benchmarks import vstar as vstar
from jepa_vlm.evaluation.benchmarks.benchmark import (
    BENCHMARKS,
    SIZES,
    Benchmark,
    differences,
    file_stem,
    load_benchmark,
    protocol_of,
    published_sizes,
    split_specs,
)

__all__ = [
    "BENCHMARKS",
    "SIZES",
    "Benchmark",
    "differences",
    "file_stem",
    "load_benchmark",
    "protocol_of",
    "published_sizes",
    "split_specs",
]
