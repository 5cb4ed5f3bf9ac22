"""Encoders: views become latents, on the cheapest exact rows or one stock pass each."""

from jepa_vlm.encoders.ahead import run_ahead
from jepa_vlm.encoders.planner import OnePassPlanner
from jepa_vlm.encoders.separate import SeparatePlanner
from jepa_vlm.encoders.states import AHEAD, Head, RegionStates, States
from jepa_vlm.encoders.target_weights import TargetWeights
from jepa_vlm.encoders.text_encoder import TextEncoder
from jepa_vlm.encoders.view_encoder import ViewEncoder

__all__ = [
    "AHEAD",
    "Head",
    "OnePassPlanner",
    "RegionStates",
    "SeparatePlanner",
    "States",
    "TargetWeights",
    "TextEncoder",
    "ViewEncoder",
    "run_ahead",
]
