"""NextLat for fine-tuning: each state of the conversation foresees the next ones; no second view is encoded.

Run:      jepa-vlm recipe next_latent
          jepa-vlm recipe next_latent --backbone qwen2.5-vl-3b --data jsonl:trajectories.jsonl --set horizon=8
Hardware: the bundled default runs on two CPU cores; the roll-out is sequential in the horizon.
Expect:   bundled default with 64 trajectories, seed 0, 30 steps: held-out next_latent 6.58 -> 1.27, next_token
          7.12 -> 1.50. Accuracy after a whole run is not measured yet.
Source:   arXiv:2511.05963, equations 3, 4 and 9, and its table of settings (1.3B model: both weights 1, d 1 or 2).
          The paper pretrains; fine-tuning with it is its own suggestion. docs/method.md says where this differs.
"""

from __future__ import annotations

import jepa_vlm as jv


def recipe(
    *, horizon: int = 1, state_weight: float = 1.0, kl_weight: float = 1.0, rank: int | None = None
) -> jv.Recipe:
    """Return the setting of the paper's largest model.

    Args:
        horizon: How many states ahead the roll-out goes, d (published: 1 to 8).
        state_weight: Of the distance between states, lambda_h (published: 1 and 2).
        kl_weight: Of the divergence between what both states say, lambda_KL (published: 0 to 1).
        rank: Of the LoRA adapter, whose alpha is twice the rank; None takes the backbone's, else 64, and 0 trains the
            whole decoder.
    """
    dynamics = jv.NextLatentRegularizer(
        horizon=horizon, condition="token", positions="all", state_weight=state_weight, kl_weight=kl_weight
    )
    return jv.Recipe(
        objective=jv.NextToken() + dynamics,
        lora=jv.Lora(rank=rank) if rank != 0 else None,
        published=jv.Published(learning_rate=1e-5, batch_size=4, accumulation=4, steps=2500, rank=64),
        warmup=0.05,
        weight_decay=0.1,
    )
