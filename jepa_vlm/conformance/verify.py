"""``verify``: run the checks on a backbone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from jepa_vlm.conformance import input_checks, model_checks
from jepa_vlm.conformance.check import Check, CheckResult, run_check
from jepa_vlm.conformance.subject import Subject
from jepa_vlm.errors import UnknownNameError

CHECKS = (  # the cheap ones first: on a large model the last ones take minutes each
    Check(
        "prompt",
        "a prompt ends as training opens a turn",
        "the model is prompted in another way than it is trained, so that what it learned may not show",
        input_checks.prompts_are_as_trained,
    ),
    Check(
        "letters",
        "letters are compared by trained tokens",
        "letter-logits and short would compare tokens that training never trains; score with 'free'",
        input_checks.letters_are_as_trained,
    ),
    Check(
        "turns",
        "every R_i survives the chat template",
        "the template drops or rewrites earlier turns, so that parts of a trajectory are never trained",
        input_checks.every_turn_survives,
    ),
    Check(
        "cut",
        "the cut-out trajectory is its golden text",
        "the target would be the embedding of another text than T",
        input_checks.trajectory_is_cut_out,
    ),
    Check(
        "tokens",
        "tokens are the stock processor's",
        "the model would be trained on another text than it sees at inference",
        input_checks.tokens_are_the_processors,
    ),
    Check(
        "pictures",
        "pixels are the stock processor's",
        "the model would be trained on other pictures than it sees at inference",
        input_checks.pixels_are_the_processors,
    ),
    Check(
        "lora",
        "LoRA lands on the decoder alone",
        "LoRA trains other layers than the family's adapter names, or leaves some out",
        model_checks.lora_stays_in_the_decoder,
    ),
    Check(
        "state",
        "the state is what the head reads",
        "token losses would be computed on other logits than the model's own",
        model_checks.head_reads_the_state,
    ),
    Check(
        "images",
        "images encoded once equal images per view",
        "features cannot be shared between views; train with --engine separate",
        model_checks.images_encode_alone,
    ),
    Check(
        "padding",
        "left padding changes nothing",
        "answers would depend on what else is in the batch; evaluate with --batch-size 1",
        model_checks.padding_changes_nothing,
    ),
    Check(
        "generation",
        "generation is unchanged by training hooks",
        "accuracy would be measured on a changed model",
        model_checks.generation_is_unchanged,
    ),
    Check(
        "gradient",
        "[PRED] and the adapter get gradient",
        "what should be trained is not",
        model_checks.pred_gets_gradient,
    ),
    Check(
        "engines",
        "one_pass equals separate",
        "packed sequences compute something else than the stock model; train with --engine separate",
        model_checks.engines_agree,
    ),
    Check(
        "export",
        "an export reloads in stock transformers",
        "a trained model could not be used without this package",
        model_checks.export_reloads,
    ),
)


def verify(
    name: str,
    *,
    dtype: torch.dtype = torch.float32,
    visual_tokens: int | None = None,
    only: Sequence[str] = (),
    after_each: Callable[[CheckResult], object] = lambda result: None,
) -> tuple[CheckResult, ...]:
    """Run the checks on a backbone, verifying its adapter against the model.

    Args:
        name: Name of the backbone, as for ``load_backbone``.
        dtype: Type to compute in; float64 makes comparisons proofs, and takes twice the memory.
        visual_tokens: Most tokens of an image; None keeps the processor's limit.
        only: Keys of the checks to run; all if there are none.
        after_each: Called with each result when its check ends; on a large model a check takes minutes.

    Raises:
        UnknownNameError: If no check has a key.
        JepaVLMError: If the backbone does not load.
    """
    chosen = checks_named(only)
    subject = Subject.load(name, dtype, visual_tokens)
    results = []
    for check in chosen:
        results.append(run_check(check, subject))
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
