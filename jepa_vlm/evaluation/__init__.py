"""Measuring a model: benchmarks, the protocol, scores with intervals, and the comparison of two evaluations."""

from jepa_vlm.evaluation.benchmarks import (
    BENCHMARKS,
    Benchmark,
    differences,
    file_stem,
    load_benchmark,
    protocol_of,
    split_specs,
)
from jepa_vlm.evaluation.beside_paper import BesidePaper, Measured, beside_paper
from jepa_vlm.evaluation.item import BenchmarkItem
from jepa_vlm.evaluation.protocol import Protocol
from jepa_vlm.evaluation.protocols import PROTOCOLS, NamedProtocol, load_protocol
from jepa_vlm.evaluation.provenance import commit, versions
from jepa_vlm.evaluation.results import Accuracy, Comparison, Evaluation, MarkedAnswer, Scored, compare
from jepa_vlm.evaluation.scoring import evaluate
from jepa_vlm.evaluation.statistics import Interval, McNemar, mcnemar_exact, wilson_interval

__all__ = [
    "BENCHMARKS",
    "PROTOCOLS",
    "Accuracy",
    "Benchmark",
    "BenchmarkItem",
    "BesidePaper",
    "Comparison",
    "Evaluation",
    "Interval",
    "MarkedAnswer",
    "McNemar",
    "Measured",
    "NamedProtocol",
    "Protocol",
    "Scored",
    "beside_paper",
    "commit",
    "compare",
    "differences",
    "evaluate",
    "file_stem",
    "load_benchmark",
    "load_protocol",
    "mcnemar_exact",
    "protocol_of",
    "split_specs",
    "versions",
    "wilson_interval",
]
