"""PixelReasoner's supervised stage: learn to write the tool calls, which are then run at inference.

Run:      jepa-vlm recipe pixel_reasoner
          jepa-vlm evaluate runs/pixel_reasoner --scoring tools
          jepa-vlm evaluate FOLDER --on vstar:PATH --protocol pixel-reasoner
Hardware: the bundled default runs on two CPU cores; the released script used 8 GPUs (batch 1 x 2 on each).
Expect:   bundled default, playground:visual-search, seed 0, 80 steps: held-out next_token 5.34 -> 0.122; of 48
          questions with tools all 48 call one and no call fails. Accuracy after a whole run is not measured yet.
Source:   arXiv:2505.15966; TIGER-AI-Lab/Pixel-Reasoner@a3a6c3a, instruction_tuning/sft.sh: the whole decoder, with the
          vision tower frozen. Its loss covers the last two assistant turns only, which its issue 40 calls a
          defect; here every turn is trained. Its reinforcement stage is out of scope.
"""

from __future__ import annotations

import jepa_vlm as jv


def recipe(*, rank: int = 0) -> jv.Recipe:
    """Return the released setting.

    Args:
        rank: Of a LoRA adapter, whose alpha is twice the rank; 0 trains the whole decoder, as released.
    """
    return jv.Recipe(
        objective=jv.NextToken(),
        lora=jv.Lora(rank=rank) if rank else None,
        published=jv.Published(learning_rate=1e-6, batch_size=1, accumulation=16, steps=2500),
        warmup=0.1,
        weight_decay=0.0,
        answering=jv.Tools(),
    )
