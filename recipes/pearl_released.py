"""Pearl as its released code computes it: cosine distance, targets that see the image, states read at the turn's end.

Run:      jepa-vlm recipe pearl_released
          jepa-vlm recipe pearl_released --backbone qwen2.5-vl-3b --data jsonl:lvr.jsonl --set trained=last
Hardware: the bundled default runs on two CPU cores; the released script used 4 GPUs (batch 2 x 8 accumulated).
Expect:   not measured on the bundled default as it is now.
Source:   the code released with Pearl, arXiv:2604.08065. Its defects are not reproduced (docs/method.md lists them).
"""

from __future__ import annotations

from typing import Literal

import jepa_vlm as jv


def recipe(
    *,
    tokens: int = 4,
    weight: float = 0.2,
    next_latent: float | None = None,
    dropout: float = 0.1,
    trained: Literal["all", "last"] = "all",
) -> jv.Recipe:
    """Return the released code's setting.

    Args:
        tokens: Learned [PRED] inputs after the question; 0 for none.
        weight: Of both latent terms beside the token loss (lambda). A term of weight 0 is left out.
        next_latent: Of the next-latent term alone, in place of ``weight``.
        dropout: Of the LoRA adapter.
        trained: Which turns carry the token loss; on the LVR data the released code trains the last one only.
    """
    prediction = jv.LatentPrediction(
        context=jv.ViewEncoder(jv.views.Question(), readout="turn_end"),
        predictor=jv.PredTokenPredictor(tokens=tokens) if tokens else jv.IdentityPredictor(),
        target=jv.ViewEncoder(jv.views.TrajectoryOnly(context="image"), readout="turn_end", policy=jv.stop_gradient()),
        loss=jv.CosineLoss(),
    )
    objective: jv.Objective | jv.NextToken = jv.NextToken(trained=trained)
    if weight:
        objective = objective + weight * prediction
    if dynamics := weight if next_latent is None else next_latent:
        view = jv.views.Conversation(trained=trained)
        objective = objective + dynamics * jv.NextLatentRegularizer(positions="supervised", view=view)
    return jv.Recipe(
        objective=objective,
        lora=jv.Lora(dropout=dropout),
        published=jv.Published(learning_rate=1e-5, batch_size=2, accumulation=8, steps=2500, rank=64),
        warmup=0.05,
        weight_decay=0.1,
    )
