"""Coconut: think in states in the place of words, one step of the reasoning more in every stage.

Run:      jepa-vlm recipe coconut
          jepa-vlm recipe coconut --set thoughts=2 --set steps_replaced=2
Hardware: the bundled default runs on two CPU cores; the released runs used 4 GPUs (batch 32 on each) and GPT-2.
Expect:   bundled default, seed 0, 600 steps: held-out next_token with 0, 1, 2 steps replaced and with the answer alone
          10.1 -> 1.96, 9.64 -> 1.75, 8.80 -> 1.53, 1.32 -> 0.344; the first three were last trained in step 300.
          Accuracy on 512 questions 61.9% -> 76.8% (95% interval 72.9 to 80.2); with noise in the slots 77.1%, with
          nothing in them 70.3%: what is learned is the last stage's, not the latents'. Seed 1: 75.6%. At 3e-3, the tiny
          profile's rate for other recipes, it falls to 48% of 192 questions (docs/method.md).
Source:   arXiv:2412.06769, section 3; facebookresearch/coconut@27273cb, dataset.py, coconut.py and run.py, settings of
          args/prosqa_coconut.yaml. Stage k has k x c slots in the place of the first k steps, in every example, each
          fed the state before it; in the last stage, three times as long, the answer alone is left. The token loss
          covers the words that are left, not START and END, which inference writes. Each stage begins with a new
          optimiser. Different here: reasoning about pictures (tool pictures are not shown), LoRA by default (rank=0
          trains the whole decoder, as released), rows of START and END near the mean row instead of copies of one.
"""

from __future__ import annotations

from typing import Literal

import jepa_vlm as jv

LAST = 3  # parts of the run that the last stage takes, where every other takes one: 15 of 50 epochs, and 5


def recipe(
    *,
    steps_replaced: int = 2,
    thoughts: int = 1,
    latents: int | None = None,
    leave: Literal["count", "end"] = "count",
    rank: int | None = None,
) -> jv.Recipe:
    """Return the curriculum, from no step replaced to the most, and then to the answer alone.

    Args:
        steps_replaced: By the end.
        thoughts: Slots for each replaced step (c).
        latents: Steps of latent feedback at inference; None is the number in training, ``steps_replaced * thoughts``.
        leave: When these end: after ``latents`` steps, as in training, or when END, which is not trained, is likeliest.
        rank: Of the LoRA adapter, whose alpha is twice the rank; None takes the backbone's, else 64, and 0 trains the
            whole decoder.
    """
    contents = [jv.views.Thoughts(steps=steps, each=thoughts) for steps in range(steps_replaced + 1)]
    contents.append(jv.views.Thoughts(steps=steps_replaced, each=thoughts, words="answer"))
    views = [jv.views.LatentConversation(slots, fed="state", borders="given") for slots in contents]
    objective = 1.0 * jv.NextToken(view=views[0])
    for view in views[1:]:
        objective = objective + jv.NextToken(view=view)
    names = [*(f"{steps} steps replaced" for steps in range(steps_replaced + 1)), "the answer alone"]
    parts = [1] * (steps_replaced + 1) + [LAST]
    stages = [
        jv.Stage(name=name, share=part / sum(parts), terms=(term,), optimizer="new")
        for name, part, term in zip(names, parts, objective.weights, strict=True)
    ]
    last = views[-1]
    return jv.Recipe(
        objective=objective,
        lora=jv.Lora(rank=rank) if rank != 0 else None,
        published=jv.Published(learning_rate=1e-4, batch_size=8, accumulation=16, steps=2500, rank=64),
        schedule="constant",
        warmup=0,
        weight_decay=0.01,
        max_grad_norm=0,
        added_tokens=last.tokens,
        stages=tuple(stages),
        answering=jv.Latents(
            steps=steps_replaced * thoughts if latents is None else latents,
            start=last.start,
            end=last.end,
            after=last.after,
            leave=leave,
            entry="forced",
        ),
    )
