"""Supervised fine-tuning on the trajectories: the token loss alone, the baseline of every latent objective.

Run:      jepa-vlm recipe sft
Hardware: the bundled default runs on two CPU cores.
Expect:   bundled default, 600 steps, three seeds on 1000 questions: 62.8% -> 67.1% (62.0% to 71.0%).
Source:   the SFT baseline of Pearl, arXiv:2604.08065, tables 1 and 2; same adapter and optimiser as `pearl`.
"""

from __future__ import annotations

import jepa_vlm as jv


def recipe(*, rank: int | None = None) -> jv.Recipe:
    """Return the baseline's setting.

    Args:
        rank: Of the LoRA adapter, whose alpha is twice the rank; None takes the backbone's, else 64.
    """
    return jv.Recipe(
        objective=jv.NextToken(),
        lora=jv.Lora(rank=rank),
        published=jv.Published(learning_rate=1e-5, batch_size=4, accumulation=4, steps=2500, rank=64),
        warmup=0.05,
        weight_decay=0.1,
    )
