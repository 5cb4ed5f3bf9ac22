"""Several trained models on the same items: statistics of their differences, and one record of everything found."""

from jepa_vlm.comparison.record import Answered, Trained, ablations, accuracy_record
from jepa_vlm.comparison.significance import (
    Estimate,
    SeedsTest,
    Spread,
    detectable_by_mcnemar,
    detectable_by_t,
    holm,
    mean_interval,
    over_items,
    over_seeds_and_items,
)

__all__ = [
    "Answered",
    "Estimate",
    "SeedsTest",
    "Spread",
    "Trained",
    "ablations",
    "accuracy_record",
    "detectable_by_mcnemar",
    "detectable_by_t",
    "holm",
    "mean_interval",
    "over_items",
    "over_seeds_and_items",
]
