"""Views of a trajectory, and requests for them."""

from jepa_vlm.views.latent_conversation import (
    LatentConversation,
    PictureFeatures,
    PooledFeatures,
    RegionFeatures,
    SlotContent,
    Thoughts,
)
from jepa_vlm.views.padded import PaddedConversation, Pads
from jepa_vlm.views.plan import BatchPlan, Branch, Layout, Location
from jepa_vlm.views.policy import TargetPolicy, cached, ema, frozen, stop_gradient, with_gradient
from jepa_vlm.views.request import READOUTS, REGIONS, Encoding, Readout, Region, Slots, ViewRequest
from jepa_vlm.views.view import Answer, Conversation, Question, TrajectoryOnly, View

__all__ = [
    "READOUTS",
    "REGIONS",
    "Answer",
    "BatchPlan",
    "Branch",
    "Conversation",
    "Encoding",
    "LatentConversation",
    "Layout",
    "Location",
    "PaddedConversation",
    "Pads",
    "PictureFeatures",
    "PooledFeatures",
    "Question",
    "Readout",
    "Region",
    "RegionFeatures",
    "SlotContent",
    "Slots",
    "TargetPolicy",
    "Thoughts",
    "TrajectoryOnly",
    "View",
    "ViewRequest",
    "cached",
    "ema",
    "frozen",
    "stop_gradient",
    "with_gradient",
]
