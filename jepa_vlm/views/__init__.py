"""Views of a trajectory, and requests for them."""

from jepa_vlm.views.padded import PaddedConversation, Pads
from jepa_vlm.views.plan import BatchPlan, Branch, Layout, Location
from jepa_vlm.views.policy import TargetPolicy, cached, ema, frozen, stop_gradient, with_gradient
from jepa_vlm.views.request import READOUTS, REGIONS, Encoding, Readout, Region, Slots, ViewRequest
from jepa_vlm.views.view import Conversation, Question, TrajectoryOnly, View

__all__ = [
    "READOUTS",
    "REGIONS",
    "BatchPlan",
    "Branch",
    "Conversation",
    "Encoding",
    "Layout",
    "Location",
    "PaddedConversation",
    "Pads",
    "Question",
    "Readout",
    "Region",
    "Slots",
    "TargetPolicy",
    "TrajectoryOnly",
    "View",
    "ViewRequest",
    "cached",
    "ema",
    "frozen",
    "stop_gradient",
    "with_gradient",
]
