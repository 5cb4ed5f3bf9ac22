"""CoVT: distil visual experts into tokens that the model writes ahead of its reasoning.

Run:      jepa-vlm recipe covt
          jepa-vlm recipe covt --set stages=all
          jepa-vlm recipe covt --backbone qwen2.5-vl-7b --data covt:FOLDER --set experts=models --set stages=all
Hardware: the bundled default runs on two CPU cores; the authors used 4 A6000 for about 20 hours.
Expect:   bundled default, seed 0, 600 steps: held-out next_token 10.4 -> 0.106, expert_distillation 5.58 -> 2.98. All
          pads are written in 512 of 512 answers (before: in none). Accuracy on 512 questions, read from what is
          written, 61.9% -> 77.7% (95% interval 73.9 to 81.1; seed 1: 81.8%). The maps are hardly learned by then:
          another image's edges cost 1.00, the own 0.98, and its other maps cost the same as the own. After 2,400 steps
          accuracy is 85.9%, and another image's edges cost 1.05, the own 0.93. `stages=all`, 600 steps: 71.1%, all pads
          in 208 of 512 answers.
Source:   CoVT, Wakals/CoVT@80a28bf: train/src/constants.py, training/data.py, covt_qwen2_5_vl.py, scripts/run.sh and
          finetune.sh. Four stages there: pads behind the image (6,000 steps, then the adapter is merged), pads as an
          answer (3,000), pads ahead of the reasoning (3,000), a random part of them (4,000, the last 2,000 by the token
          loss alone); here one run under one schedule of the learning rate, in these shares. Its adapter is on the
          vision tower too, and its projectors train at 1e-5.
"""

from __future__ import annotations

import functools
from typing import Literal

import jepa_vlm as jv
from jepa_vlm.contrib import covt
from jepa_vlm.contrib.covt import AheadOfReasoning, AsAnswer, BehindImages, PaddedConversation, Pads, SomeKinds

NAMES = {
    "segmentation": "segmentation", "sam": "segmentation", "depth": "depth map", "depth_anything": "depth map",
    "dinov2": "perception feature", "edges": "edge map",
}  # fmt: skip
SHARES = {"understand": 6 / 16, "generate": 3 / 16, "reason": 3 / 16, "efficient": 2 / 16, "words alone": 2 / 16}


def recipe(
    *,
    experts: Literal["playground", "models"] = "playground",
    stages: Literal["reason", "all"] = "reason",
    weight: float = 1.0,
    sentences: bool = False,
    supervised: bool = True,
) -> jv.Recipe:
    """Return the setting.

    Args:
        experts: ``playground``: the true segmentation, depth and edges of its scenes, which need no weights.
            ``models``: SAM, Depth-Anything and DINOv2, which are downloaded.
        stages: ``reason``: the third stage alone, so that every step of a short run trains what inference writes.
            ``all``: the four of the released scripts; the model then may write a part of the pads.
        weight: Of the distillation beside the token loss.
        sentences: Whether words tell the pads apart ("Because the depth map of the image is ..."), as in CoVT's data.
        supervised: Whether the token loss trains the model to write the pads; without it, it will not.
    """
    if experts == "playground":
        parts = [covt.true_segmentation(), covt.true_depth(), covt.true_edges()]
    else:
        parts = [covt.sam(), covt.depth_anything(), covt.dinov2()]
    pads, ahead = tuple(part.pads for part in parts), AheadOfReasoning(close="\n")
    names = [NAMES[part.name] for part in parts]
    told = pads
    if sentences:
        ahead = AheadOfReasoning(lead="Because ", between=", and ", close=".\n")
        told = tuple(Pads(p.token, p.count, f"the {n} of the image is ") for p, n in zip(pads, names, strict=True))
    # The last turn alone: the trained model answers by plain generation, in which nothing runs a tool that it calls.
    padded = functools.partial(PaddedConversation, turns="last")
    reason = padded(pads=told, place=ahead, supervised=supervised)
    views = {"reason": reason}
    if stages == "all":
        if not supervised:
            raise ValueError("In one of the stages pads are the whole answer: stages='all' needs supervised=True.")
        asked = f"What is the {', '.join(names)} of the image?"
        views = {
            "understand": padded(pads=pads, place=BehindImages()),
            "generate": padded(pads=pads, place=AsAnswer(question=asked)),
            "reason": reason,
            "efficient": padded(pads=told, place=ahead, kinds=SomeKinds(none=1 / 6)),
        }
    first, *others = views.values()
    objective = jv.NextToken(view=first, mean="examples") + weight * covt.ExpertDistillation(view=first, experts=parts)
    for view in others:  # one head for each expert, whatever the stage
        lent = covt.ExpertDistillation(view=view, experts="expert_distillation")
        objective = objective + jv.NextToken(view=view, mean="examples") + weight * lent
    pairs = iter(objective.weights)
    terms = dict(zip(views, zip(pairs, pairs, strict=True), strict=True))
    terms["words alone"] = next(reversed(terms.values()))[:1]
    return jv.Recipe(
        objective=objective,
        lora=jv.Lora(rank=16, alpha=32, dropout=0.01),
        published=jv.Published(
            learning_rate=5e-5, batch_size=1, accumulation=8, steps=10000 if stages == "reason" else 16000
        ),
        warmup=0.05,
        weight_decay=0.1,
        added_tokens=reason.tokens,
        stages=tuple(jv.Stage(name=n, share=share, terms=terms[n]) for n, share in SHARES.items()) if others else (),
        answering=jv.Plain(reason.written(range(len(pads))), reason.tokens) if supervised else jv.Plain(),
    )
