"""``verify``: every promise that the library makes about a backbone, held on that backbone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from jepa_vlm.conformance import engines, pictures, template, training
from jepa_vlm.conformance.result import Check, Result, hold
from jepa_vlm.conformance.subject import Subject
from jepa_vlm.errors import UnknownNameError

CHECKS = (  # the cheap ones first: a large model takes minutes for one of the last
    Check(
        "prompt",
        "a prompt ends as training opens a turn",
        "the model is asked in another way than it is trained, so that what it learned may not show",
        template.prompts_are_as_trained,
    ),
    Check(
        "letters",
        "letters are compared by trained tokens",
        "letter-logits and short would compare tokens that training never trains; score with 'free'",
        template.letters_are_as_trained,
    ),
    Check(
        "turns",
        "every R_i survives the chat template",
        "the template drops or rewrites earlier turns, so that parts of a trajectory are never trained",
        template.every_turn_survives,
    ),
    Check(
        "cut",
        "the cut-out trajectory is its golden text",
        "the target would be the embedding of something else than T",
        template.trajectory_is_cut_out,
    ),
    Check(
        "tokens",
        "tokens are the stock processor's",
        "the model would be trained on another text than it sees at inference",
        template.tokens_are_the_processors,
    ),
    Check(
        "pictures",
        "pixels are the stock processor's",
        "the model would be trained on other pictures than it sees at inference",
        pictures.pixels_are_the_processors,
    ),
    Check(
        "lora",
        "LoRA lands on the decoder alone",
        "the adapter trains other layers than it says, or leaves some out",
        training.lora_stays_in_the_decoder,
    ),
    Check(
        "state",
        "the state is what the head reads",
        "token losses would be computed on other logits than the model's own",
        engines.head_reads_the_state,
    ),
    Check(
        "images",
        "images encoded once equal images per view",
        "features cannot be shared between views; train with --engine separate",
        engines.images_encode_alone,
    ),
    Check(
        "padding",
        "left padding changes nothing",
        "answers would depend on what else is in the batch; evaluate with --batch-size 1",
        training.padding_changes_nothing,
    ),
    Check(
        "generation",
        "generation is unchanged by training hooks",
        "accuracy would be measured on a changed model",
        training.generation_is_unchanged,
    ),
    Check(
        "gradient",
        "[PRED] and the adapter get gradient",
        "what should learn does not",
        training.pred_gets_gradient,
    ),
    Check(
        "engines",
        "one_pass equals separate",
        "packed rows compute something else than the stock model; train with --engine separate",
        engines.engines_agree,
    ),
    Check(
        "export",
        "an export reloads in stock transformers",
        "a trained model could not be used without this package",
        training.export_reloads,
    ),
)


def verify(
    name: str,
    *,
    dtype: torch.dtype = torch.float32,
    visual_tokens: int | None = None,
    only: Sequence[str] = (),
    after_each: Callable[[Result], object] = lambda result: None,
) -> tuple[Result, ...]:
    """Hold every check on a backbone.

    Args:
        name: As for ``load_backbone``.
        dtype: In which to compute; float64 proves, and takes twice the memory.
        visual_tokens: Most tokens of an image; None keeps the processor's limit.
        only: Keys of the checks to run; all if there are none.
        after_each: Receives each result when its check ends; a large model takes minutes for one.

    Raises:
        UnknownNameError: If no check has a key.
        JepaVLMError: If the backbone does not load.
    """
    chosen = checks_named(only)
    subject = Subject.load(name, dtype, visual_tokens)
    results = []
    for check in chosen:
        results.append(hold(check, subject))
        after_each(results[-1])
    return tuple(results)


def checks_named(keys: Sequence[str]) -> list[Check]:
    """Return the checks of these keys in their own order, or all of them.

    Raises:
        UnknownNameError: If no check has a key.
    """
    known = {check.key: check for check in CHECKS}
    for key in keys:
        if key not in known:
            raise UnknownNameError("check", key, known=known)
    return [check for check in CHECKS if check.key in keys or not keys]
