"""LVR: in the place of a crop, reconstruct the visual tokens of the region that the expert looked at.

Run:      jepa-vlm recipe lvr
          jepa-vlm recipe lvr --backbone qwen2.5-vl-3b --data lvr:META.json#style=original --set rank=0
          jepa-vlm evaluate runs/lvr --latents 8
Hardware: the bundled default runs on two CPU cores; the released script used 8 GPUs (batch 1 packed x 8 on each).
Expect:   bundled default, seed 0, 600 steps: held-out next_token 9.65 -> 0.423, latent_reconstruction 46.4 -> 35.7,
          matched minus shuffled cosine, all slots and kinds together, +0.006 -> +0.505. Accuracy on 512 questions
          61.9% -> 57.8%: they ask for a letter at once, and the model, left to decide, looks in none of them; forced to
          look, it falls to 32.0%.
Source:   arXiv:2509.24251; VincentLeebang/lvr@637a9f7, scripts/finetune_lvr_stage1_7b.sh (supervised stage). START and
          END are trained, slots are not; the mean is over all slots of the batch. Different here: LoRA by default
          (rank=0 trains the whole decoder, as released), any number of images and boxes, words before a slot are
          kept, no <|lvr_latent_end|> (a flag's default puts it into every released sequence), END is always written.
          A head is applied at every latent step; the released code applies it one step late.
"""

from __future__ import annotations

from typing import Literal

import jepa_vlm as jv


def recipe(
    *,
    weight: float = 0.1,
    latents: int = 4,
    leave: Literal["count", "end"] = "count",
    rank: int | None = None,
    head: Literal["none", "mlp", "gated"] = "none",
    width: int | None = None,
) -> jv.Recipe:
    """Return the supervised stage.

    Args:
        weight: Of the reconstruction beside the token loss.
        latents: Steps of latent feedback at inference, whenever the model writes START; LVR reports 4, 8 and 16.
        leave: When these end: after ``latents`` steps, or when END is the likeliest token, after ``latents`` at most.
        rank: Of the LoRA adapter, whose alpha is twice the rank; None takes the backbone's, else 64, and 0 trains the
            whole decoder.
        head: Between the state and its prediction of a visual token, in training and at inference: LVR's heads
            "simple" (``mlp``) and "glu" (``gated``).
        width: Of the head ``gated``; None is the state's own size. Released: the decoder's intermediate size, 11008 in
            Qwen2.5-VL-3B and 18944 in the 7B.
    """
    heads: dict[str, jv.Predictor] = {
        "none": jv.IdentityPredictor(),
        "mlp": jv.MLPPredictor(norm="layer"),
        "gated": jv.GatedPredictor(hidden=width),
    }
    view = jv.views.LatentConversation(jv.views.RegionFeatures(), start="<|lvr_start|>", end="<|lvr_end|>")
    return jv.Recipe(
        objective=jv.NextToken(view=view)
        + weight * jv.LatentReconstruction(view=view, predictor=heads[head], loss=jv.MSELoss()),
        lora=jv.Lora(rank=rank) if rank != 0 else None,
        published=jv.Published(learning_rate=1e-5, batch_size=4, accumulation=4, steps=2500, rank=64),
        warmup=0.03,
        weight_decay=0.1,
        added_tokens=view.tokens,
        answering=jv.Latents(
            steps=latents, start=view.start, end=view.end, after=view.after, leave=leave, entry="model"
        ),
    )
