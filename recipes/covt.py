"""CoVT: distil visual experts into tokens that the model writes ahead of its reasoning.

Run:      jepa-vlm recipe covt
          jepa-vlm recipe covt --backbone qwen2.5-vl-7b --data covt:FOLDER --set experts=models
Hardware: the embedded default runs on two CPU cores; the authors used 4 A6000 for about 20 hours.
Expect:   embedded default, seed 0, 12 steps of a run of 60 (learning rate still near its peak): held-out next_token
          9.03 -> 2.92, expert_distillation 2.19 -> 1.47. Accuracy after a whole run is not measured yet.
Source:   CoVT, Wakals/CoVT@80a28bf: train/src/constants.py, covt_qwen2_5_vl.py and scripts/run.sh. This is its third
          stage, in which the reasoning opens with the pads; the four stages of its data follow each other there.
          Its adapter is on the vision tower too, and its projectors train at 1e-5.
"""

from __future__ import annotations

from typing import Literal

import jepa_vlm as jv

NAMES = {
    "segmentation": "segmentation", "sam": "segmentation", "depth": "depth map", "depth_anything": "depth map",
    "dinov2": "perception feature", "edges": "edge map",
}  # fmt: skip


def recipe(
    *,
    experts: Literal["playground", "models"] = "playground",
    weight: float = 1.0,
    sentences: bool = False,
    supervised: bool = True,
) -> jv.Recipe:
    """Return the reasoning stage's setting.

    Args:
        experts: ``playground``: the true segmentation, depth and edges of its scenes, which need no weights.
            ``models``: SAM, Depth-Anything and DINOv2, which are downloaded.
        weight: Of the distillation beside the token loss.
        sentences: Whether words tell the pads apart ("Because the depth map of the image is ..."), as in CoVT's data.
        supervised: Whether the token loss trains the model to write the pads; without it, it will not.
    """
    if experts == "playground":
        parts = [jv.experts.true_segmentation(), jv.experts.true_depth(), jv.experts.true_edges()]
    else:
        parts = [jv.experts.sam(), jv.experts.depth_anything(), jv.experts.dinov2()]
    pads = tuple(part.pads for part in parts)
    if sentences:
        words = ["Because the " if not i else ", and the " for i in range(len(parts))]
        told = [f"{w}{NAMES[part.name]} of the image is " for w, part in zip(words, parts, strict=True)]
        pads = tuple(jv.views.Pads(p.token, p.count, w) for p, w in zip(pads, told, strict=True))
    view = jv.views.PaddedConversation(pads=pads, close=", " if sentences else "", supervised=supervised)
    return jv.Recipe(
        objective=jv.NextToken(view=view) + weight * jv.ExpertDistillation(view=view, experts=parts),
        lora=jv.Lora(rank=16, alpha=32, dropout=0.01),
        learning_rate=5e-5,
        warmup=0.05,
        weight_decay=0.1,
        batch_size=1,
        accumulation=8,
        steps=10000,
        added_tokens=view.tokens,
        opening=jv.Opening(text=view.opening, tokens=view.tokens) if supervised else None,
    )
