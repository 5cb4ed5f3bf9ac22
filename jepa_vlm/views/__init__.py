"""Views of a trajectory, and requests for them."""

from jepa_vlm.views.latent_conversation import (
    LatentConversation,
    PictureFeatures,
    PooledFeatures,
    RegionFeatures,
    SlotContent,
    Thoughts,
)
from jepa_vlm.views.padded import (
    AheadOfReasoning,
    AllKinds,
    AsAnswer,
    BehindImages,
    Kinds,
    PaddedConversation,
    Pads,
    Place,
    SomeKinds,
)
from jepa_vlm.views.policy import TargetPolicy, cached, ema, frozen, stop_gradient, with_gradient
from jepa_vlm.views.request import READOUTS, REGIONS, Readout, Request, Slots
from jepa_vlm.views.tokenized import IGNORED, TokenizedView
from jepa_vlm.views.view import Answer, Conversation, Question, TrajectoryOnly, View, answer_of, answered_directly

__all__ = [
    "IGNORED",
    "READOUTS",
    "REGIONS",
    "AheadOfReasoning",
    "AllKinds",
    "Answer",
    "AsAnswer",
    "BehindImages",
    "Conversation",
    "Kinds",
    "LatentConversation",
    "PaddedConversation",
    "Pads",
    "PictureFeatures",
    "Place",
    "PooledFeatures",
    "Question",
    "Readout",
    "RegionFeatures",
    "Request",
    "SlotContent",
    "Slots",
    "SomeKinds",
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
