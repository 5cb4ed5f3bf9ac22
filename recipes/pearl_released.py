"""Pearl as its released code computes it: cosine distance, targets that see the image, states read at the turn's end.

Run:      jepa-vlm recipe pearl_released
Hardware: the embedded default runs on two CPU cores; the released script used 4 GPUs (batch 2 x 8 accumulated).
Source:   the code released with Pearl, arXiv:2604.08065. Its defects are not reproduced (docs/method.md lists them).
"""

from __future__ import annotations

import jepa_vlm as jv


def recipe(*, tokens: int = 4, weight: float = 0.2, dropout: float = 0.1) -> jv.Recipe:
    """Return the released code's setting.

    Args:
        tokens: Learned [PRED] inputs after the question; 0 for none.
        weight: Of both latent terms beside the token loss (lambda).
        dropout: Of the LoRA adapter.
    """
    prediction = jv.LatentPrediction(
        context=jv.ViewEncoder(jv.views.Question(), readout="turn_end"),
        predictor=jv.PredTokenPredictor(tokens=tokens) if tokens else jv.IdentityPredictor(),
        target=jv.ViewEncoder(jv.views.TrajectoryOnly(context="image"), readout="turn_end", policy=jv.stop_gradient()),
        loss=jv.CosineLoss(),
    )
    return jv.Recipe(
        objective=jv.NextToken() + weight * (prediction + jv.NextLatentRegularizer(positions="supervised")),
        lora=jv.Lora(rank=64, alpha=128, dropout=dropout),
        learning_rate=1e-5,
        warmup=0.05,
        weight_decay=0.1,
        batch_size=2,
        accumulation=8,
        steps=2500,
    )
