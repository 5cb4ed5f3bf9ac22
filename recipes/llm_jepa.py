"""LLM-JEPA on trajectories: question and trajectory are two views of one thing, and gradient flows into both.

Run:      jepa-vlm recipe llm_jepa
          jepa-vlm recipe llm_jepa --backbone qwen2.5-vl-3b --data jsonl:trajectories.jsonl --set tokens=2
          jepa-vlm recipe llm_jepa --set dropout=0.75 --set weight=4
Hardware: the bundled default runs on two CPU cores; the trajectory view is back-propagated too, which `pearl` spares.
Expect:   bundled default, seed 0, 40 steps: held-out latent_prediction 0.980 -> 0.024, next_token 7.02 -> 0.483, but
          matched minus shuffled cosine, all kinds together, only 0.002 -> 0.008. Accuracy after a whole run is not
          measured yet.
Source:   arXiv:2509.14252; rbalestr-lab/llm-jepa@dd61966, finetune.py. docs/method.md says where they and this differ.
"""

from __future__ import annotations

import jepa_vlm as jv


def recipe(
    *, tokens: int = 1, weight: float = 1.0, gamma: float = 1.0, dropout: float = 0.0, rank: int | None = None
) -> jv.Recipe:
    """Return a setting within the released scripts' grids.

    Args:
        tokens: Learned [PRED] inputs after the question, K (released: 0 to 4); 0 reads the question's last token.
        weight: Of the prediction, lambda (released: 0.5 to 2).
        gamma: Of the token loss.
        dropout: Share of the steps without the prediction, LD (released: 0.75); the paper advises to keep
            weight * (1 - dropout) as it was.
        rank: Of the LoRA adapter, whose alpha is twice the rank; None takes the backbone's, else 64, and 0 trains the
            whole decoder.
    """
    prediction = jv.LatentPrediction(
        context=jv.ViewEncoder(jv.views.Question(), readout="last_pred" if tokens else "last_token"),
        predictor=jv.PredTokenPredictor(tokens=tokens) if tokens else jv.IdentityPredictor(),
        target=jv.ViewEncoder(jv.views.TrajectoryOnly(context="none"), readout="last_token", policy=jv.with_gradient()),
        loss=jv.CosineLoss(),
        loss_dropout=dropout,
    )
    return jv.Recipe(
        objective=gamma * jv.NextToken() + weight * prediction,
        lora=jv.Lora(rank=rank) if rank != 0 else None,
        published=jv.Published(learning_rate=2e-5, batch_size=4, accumulation=4, steps=2500, rank=64),
        schedule="linear",
        warmup=0,
        weight_decay=0.0,
    )
