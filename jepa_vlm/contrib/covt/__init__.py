"""CoVT: experts of an image are distilled into the states at expert tokens ("pads"). Loaded on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jepa_vlm.lazy import on_first_use

if TYPE_CHECKING:
    from jepa_vlm.contrib.covt.expert import Expert, ExpertHead, ExpertLoss, ExpertTarget, Seen
    from jepa_vlm.contrib.covt.expert_distillation import ExpertDistillation
    from jepa_vlm.contrib.covt.expert_heads import PadHead, QueryHead
    from jepa_vlm.contrib.covt.expert_losses import MaskLoss, MeanLoss
    from jepa_vlm.contrib.covt.frozen_networks import depth_anything, dinov2
    from jepa_vlm.contrib.covt.padded_conversation import (
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
    from jepa_vlm.contrib.covt.sam_masks import sam
    from jepa_vlm.contrib.covt.true_maps import true_depth, true_edges, true_segmentation

_HOMES = {
    "AheadOfReasoning": "padded_conversation",
    "AllKinds": "padded_conversation",
    "AsAnswer": "padded_conversation",
    "BehindImages": "padded_conversation",
    "Expert": "expert",
    "ExpertDistillation": "expert_distillation",
    "ExpertHead": "expert",
    "ExpertLoss": "expert",
    "ExpertTarget": "expert",
    "Kinds": "padded_conversation",
    "MaskLoss": "expert_losses",
    "MeanLoss": "expert_losses",
    "PadHead": "expert_heads",
    "PaddedConversation": "padded_conversation",
    "Pads": "padded_conversation",
    "Place": "padded_conversation",
    "QueryHead": "expert_heads",
    "Seen": "expert",
    "SomeKinds": "padded_conversation",
    "depth_anything": "frozen_networks",
    "dinov2": "frozen_networks",
    "sam": "sam_masks",
    "true_depth": "true_maps",
    "true_edges": "true_maps",
    "true_segmentation": "true_maps",
}

__all__ = [
    "AheadOfReasoning",
    "AllKinds",
    "AsAnswer",
    "BehindImages",
    "Expert",
    "ExpertDistillation",
    "ExpertHead",
    "ExpertLoss",
    "ExpertTarget",
    "Kinds",
    "MaskLoss",
    "MeanLoss",
    "PadHead",
    "PaddedConversation",
    "Pads",
    "Place",
    "QueryHead",
    "Seen",
    "SomeKinds",
    "depth_anything",
    "dinov2",
    "sam",
    "true_depth",
    "true_edges",
    "true_segmentation",
]

__getattr__ = on_first_use(__name__, _HOMES)
