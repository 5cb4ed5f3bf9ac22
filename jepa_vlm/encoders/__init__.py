"""Engines: they encode views on the cheapest exact rows, or by one stock pass each."""

from jepa_vlm.encoders.ahead import run_ahead
from jepa_vlm.encoders.planner import OnePassPlanner
from jepa_vlm.encoders.row_states import AHEAD
from jepa_vlm.encoders.separate import SeparatePlanner
from jepa_vlm.encoders.target_weights import TargetWeights
from jepa_vlm.encoders.text_encoder import TextEncoder

__all__ = [
    "AHEAD",
    "OnePassPlanner",
    "SeparatePlanner",
    "TargetWeights",
    "TextEncoder",
    "run_ahead",
]
