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
from jepa_vlm.views.plan import BatchPlan, Branch, Layout, Location
from jepa_vlm.views.policy import TargetPolicy, cached, ema, frozen, stop_gradient, with_gradient
from jepa_vlm.views.request import READOUTS, REGIONS, Encoding, Readout, Region, Slots, ViewRequest
from jepa_vlm.views.view import Answer, Conversation, Question, TrajectoryOnly, View

__all__ = [
    "READOUTS",
    "REGIONS",
    "AheadOfReasoning",
    "AllKinds",
    "Answer",
    "AsAnswer",
    "BatchPlan",
    "BehindImages",
    "Branch",
    "Conversation",
    "Encoding",
    "Kinds",
    "LatentConversation",
    "Layout",
    "Location",
    "PaddedConversation",
    "Pads",
    "PictureFeatures",
    "Place",
    "PooledFeatures",
    "Question",
    "Readout",
    "Region",
    "RegionFeatures",
    "SlotContent",
    "Slots",
    "SomeKinds",
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
