"""Measuring a model: benchmarks, the protocol, scores with intervals, and the comparison of two evaluations."""

from jepa_vlm.evaluation.benchmarks import BENCHMARKS, Benchmark, load_benchmark
from jepa_vlm.evaluation.comparison import Comparison, compare
from jepa_vlm.evaluation.protocol import Protocol
from jepa_vlm.evaluation.provenance import commit, versions
from jepa_vlm.evaluation.results import Accuracy, Answer, Evaluation, Scored
from jepa_vlm.evaluation.scoring import evaluate
from jepa_vlm.evaluation.statistics import Interval, McNemar, mcnemar_exact, wilson_interval

__all__ = [
    "BENCHMARKS",
    "Accuracy",
    "Answer",
    "Benchmark",
    "Comparison",
    "Evaluation",
    "Interval",
    "McNemar",
    "Protocol",
    "Scored",
    "commit",
    "compare",
    "evaluate",
    "load_benchmark",
    "mcnemar_exact",
    "versions",
    "wilson_interval",
]
