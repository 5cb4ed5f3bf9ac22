"""Coconut: think in states in the place of words, one step of the reasoning more in every stage.

Run:      jepa-vlm recipe coconut
          jepa-vlm recipe coconut --set thoughts=2 --set steps_replaced=2
Hardware: the embedded default runs on two CPU cores; the released runs used 4 GPUs (batch 32 on each) and GPT-2.
Expect:   embedded default, seed 0, 600 steps: held-out next_token with 0, 1, 2 steps replaced, when last measured in
          its own stage, 10.6 -> 0.715, 10.7 -> 0.738, 10.7 -> 0.483; later stages bring the first two up again, to 1.80
          and 1.06. Accuracy on 512 questions 61.9% -> 20.7%, chance 25%, forced to think or left to decide: the model
          thinks in all of them either way.
Source:   arXiv:2412.06769, section 3; facebookresearch/coconut@27273cb, dataset.py and coconut.py. The first k steps
          are replaced by k x c slots, each fed the state before it; the token loss covers the words that are left.
          Different here: reasoning about pictures (tool pictures are not shown), stages share one schedule and keep the
          optimiser's state, shorter reasonings are replaced as far as they go and never their answer, START and END
          are trained, and stand in stage 0 too, with nothing between them.
"""

from __future__ import annotations

import jepa_vlm as jv


def recipe(*, steps_replaced: int = 2, thoughts: int = 1, rank: int | None = None) -> jv.Recipe:
    """Return the curriculum, from no step replaced to the most.

    Args:
        steps_replaced: In the last stage.
        thoughts: Slots for each replaced step (c).
        rank: Of the LoRA adapter, whose alpha is twice the rank; None takes the backbone's, else 64, and 0 trains the
            whole decoder.
    """
    views = [
        jv.views.LatentConversation(jv.views.Thoughts(steps=steps, each=thoughts), fed="state")
        for steps in range(steps_replaced + 1)
    ]
    objective = 1.0 * jv.NextToken(view=views[0])
    for view in views[1:]:
        objective = objective + jv.NextToken(view=view)
    stages = [
        jv.Stage(name=f"{steps} steps replaced", share=1 / len(views), terms=(term,))
        for steps, term in enumerate(objective.weights)
    ]
    last = views[-1]
    return jv.Recipe(
        objective=objective,
        lora=jv.Lora(rank=rank) if rank != 0 else None,
        published=jv.Published(learning_rate=1e-5, batch_size=4, accumulation=4, steps=2500, rank=64),
        warmup=0.05,
        weight_decay=0.01,
        added_tokens=last.tokens,
        stages=tuple(stages),
        decoding=jv.LatentDecoding(steps=steps_replaced * thoughts, start=last.start, end=last.end, after=last.after),
    )
