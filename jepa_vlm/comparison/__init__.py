"""Several trained models on the same items: statistics of their differences, and one record of everything found."""

from jepa_vlm.comparison.ablation import Trained, ablations
from jepa_vlm.comparison.answered import Answered
from jepa_vlm.comparison.detectable import detectable_by_mcnemar, detectable_by_t
from jepa_vlm.comparison.difference import Estimate, SeedsTest, mean_interval, over_items, over_seeds_and_items
from jepa_vlm.comparison.holm import holm
from jepa_vlm.comparison.record import accuracy_record
from jepa_vlm.comparison.spread import Spread

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
