"""``verify``: every promise that the library makes about a backbone, held on that backbone."""

from __future__ import annotations

from collections.abc import Callable

import torch

from jepa_vlm.conformance import engines, template, training
from jepa_vlm.conformance.result import Check, Result, hold
from jepa_vlm.conformance.subject import Subject

CHECKS = (
    Check(
        "tokens are the stock processor's",
        "the model would be trained on another text than it sees at inference",
        template.tokens_are_the_processors,
    ),
    Check(
        "every R_i survives the chat template",
        "the template drops or rewrites earlier turns, so that parts of a trajectory are never trained",
        template.every_turn_survives,
    ),
    Check(
        "a prompt ends as training opens a turn",
        "the model is asked in another way than it is trained, so that what it learned may not show",
        template.prompts_are_as_trained,
    ),
    Check(
        "the cut-out trajectory is its golden text",
        "the target would be the embedding of something else than T",
        template.trajectory_is_cut_out,
    ),
    Check(
        "the state is what the head reads",
        "token losses would be computed on other logits than the model's own",
        engines.head_reads_the_state,
    ),
    Check(
        "images encoded once equal images per view",
        "features cannot be shared between views; train with --engine separate",
        engines.images_encode_alone,
    ),
    Check(
        "one_pass equals separate",
        "packed rows compute something else than the stock model; train with --engine separate",
        engines.engines_agree,
    ),
    Check(
        "LoRA lands on the decoder alone",
        "the adapter trains other layers than it says, or leaves some out",
        training.lora_stays_in_the_decoder,
    ),
    Check(
        "[PRED] and the adapter get gradient",
        "what should learn does not",
        training.pred_gets_gradient,
    ),
    Check(
        "generation is unchanged by training hooks",
        "accuracy would be measured on a changed model",
        training.generation_is_unchanged,
    ),
    Check(
        "left padding changes nothing",
        "answers would depend on what else is in the batch; evaluate with --batch-size 1",
        training.padding_changes_nothing,
    ),
    Check(
        "an export reloads in stock transformers",
        "a trained model could not be used without this package",
        training.export_reloads,
    ),
)


def verify(
    name: str, *, dtype: torch.dtype = torch.float32, after_each: Callable[[], None] = lambda: None
) -> tuple[Result, ...]:
    """Hold every check on a backbone.

    Args:
        name: As for ``load_backbone``.
        dtype: In which to compute; float64 proves, and takes twice the memory.
        after_each: Called when a check is done; a large model takes minutes for one.

    Raises:
        JepaVLMError: If the backbone does not load.
    """
    subject = Subject.load(name, dtype)
    results = []
    for check in CHECKS:
        results.append(hold(check, subject))
        after_each()
    return tuple(results)
