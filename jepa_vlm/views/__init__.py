"""Views of a trajectory, and requests for them."""

from jepa_vlm.views.latent_conversation import (
    LatentConversation,
    PictureFeatures,
    PooledFeatures,
    RegionFeatures,
    SlotContent,
    Thoughts,
)
from jepa_vlm.views.policy import TargetPolicy, cached, ema, frozen, stop_gradient, with_gradient
from jepa_vlm.views.request import READOUTS, REGIONS, Readout, Request, Slots
from jepa_vlm.views.tokenized import IGNORED, TokenizedView
from jepa_vlm.views.view import Answer, Conversation, Question, TrajectoryOnly, View, answer_of, answered_directly

__all__ = [
    "IGNORED",
    "READOUTS",
    "REGIONS",
    "Answer",
    "Conversation",
    "LatentConversation",
    "PictureFeatures",
    "PooledFeatures",
    "Question",
    "Readout",
    "RegionFeatures",
    "Request",
    "SlotContent",
    "Slots",
    "TargetPolicy",
    "Thoughts",
    "TokenizedView",
    "TrajectoryOnly",
    "View",
    "answer_of",
    "answered_directly",
    "cached",
    "ema",
    "frozen",
    "stop_gradient",
    "with_gradient",
]
