"""Mirage: imagine the picture that a tool would return as a few latent slots, first shown, then on its own.

Run:      jepa-vlm recipe mirage
          jepa-vlm recipe mirage --backbone qwen2.5-vl-7b --data mirage:train_direct.jsonl --set rank=0
Hardware: the bundled default runs on two CPU cores; the released script holds a 7B in one process (batch 1 x 8).
Expect:   bundled default, seed 0, 600 steps: held-out next_token 9.44 -> 0.341 fed, 9.50 -> 0.341 fed back,
          latent_reconstruction 0.963 -> 0.271 (step 240, in stage 1) -> 0.374 (stage 2 trains it no longer), matched
          minus shuffled cosine +0.018 -> +0.189. Accuracy on 512 questions 61.9% -> 65.4%: they ask for a letter at
          once, and the model, left to decide, imagines nothing in any of them; forced to, it falls to 37.7%.
Source:   arXiv:2506.17218; UMass-Embodied-AGI/Mirage@53f26de, src/main.py. Stage 1: slots are fed their targets (means
          of equal runs of the picture's features), loss 0.1 x tokens + (1 - cosine). Stage 2: slots are fed the state
          before them, the token loss alone. Different here: both stages are one run under one schedule of the learning
          rate, LoRA by default (rank=0 trains the whole decoder, as released), any number of pictures. Activation
          checkpointing is refused in stage 2, where the released code lets it switch the latent path off (issue 7).
"""

from __future__ import annotations

from typing import Literal

import jepa_vlm as jv


def recipe(
    *,
    slots: int = 4,
    first: float = 0.5,
    weight: float = 0.1,
    latents: int = 8,
    leave: Literal["count", "end"] = "end",
    rank: int | None = None,
) -> jv.Recipe:
    """Return both stages.

    Args:
        slots: For each picture.
        first: Share of the steps that stage 1 takes; 1 leaves stage 2 out.
        weight: Of the token loss beside the reconstruction, in stage 1.
        latents: Most steps of latent feedback at inference, whenever the model writes START.
        leave: When these end: when END is the likeliest token (``end``), or after exactly ``latents`` (``count``).
        rank: Of the LoRA adapter, whose alpha is twice the rank; None takes the backbone's, else 64, and 0 trains the
            whole decoder.
    """
    pictures = jv.views.PooledFeatures(chunks=slots)
    shown, alone = jv.views.LatentConversation(pictures), jv.views.LatentConversation(pictures, fed="state")
    objective = weight * jv.NextToken(view=shown) + jv.LatentReconstruction(view=shown, loss=jv.CosineLoss())
    stages: tuple[jv.Stage, ...] = ()
    if first < 1:
        objective = objective + jv.NextToken(view=alone)
        stages = (
            jv.Stage(name="shown", share=first, terms=("next_token", "latent_reconstruction")),
            jv.Stage(name="alone", share=1 - first, terms=("next_token_2",)),
        )
    return jv.Recipe(
        objective=objective,
        lora=jv.Lora(rank=rank) if rank != 0 else None,
        published=jv.Published(learning_rate=1e-5, batch_size=4, accumulation=2, steps=2500, rank=64),
        schedule="linear",
        warmup=10,
        weight_decay=0.01,
        added_tokens=shown.tokens,
        stages=stages,
        answering=jv.Latents(
            steps=latents, start=shown.start, end=shown.end, after=shown.after, leave=leave, entry="model"
        ),
    )
