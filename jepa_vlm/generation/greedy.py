"""Greedy decoding that a checkpoint's own sampling settings play no part in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from jepa_vlm.adapters import Backbone
from jepa_vlm.generation.prompt import Inputs


def generate(
    backbone: Backbone,
    inputs: Inputs,
    tokens: int,
    allowed: Callable[[int, Tensor], list[int]] | None = None,
    *,
    processors: Sequence[LogitsProcessor] = (),
) -> Tensor:
    """Return the tokens that follow each prompt, at most ``tokens``, padded on the right.

    Args:
        backbone: In inference.
        inputs: Left-padded prompts.
        tokens: Most new ones.
        allowed: From a row and its tokens so far to the tokens that may follow; None for all.
        processors: What else has a say in the next token.
    """
    produced: Tensor = backbone.model.generate(  # type: ignore[operator]
        **inputs,
        max_new_tokens=tokens,
        min_new_tokens=0,
        do_sample=False,
        num_beams=1,
        temperature=1.0,
        top_k=50,
        top_p=1.0,
        use_cache=True,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        pad_token_id=pad_id(backbone),
        eos_token_id=end_ids(backbone),
        prefix_allowed_tokens_fn=allowed,
        logits_processor=LogitsProcessorList(processors),
    )
    return produced[:, inputs["input_ids"].shape[1] :]


def end_ids(backbone: Backbone) -> list[int]:
    """Return the tokens that end an answer, the tokenizer's own first."""
    own = backbone.model.generation_config.eos_token_id
    more = own if isinstance(own, list) else [own]
    return list(dict.fromkeys(int(i) for i in (backbone.tokenizer.eos_token_id, *more) if i is not None))


def pad_id(backbone: Backbone) -> int:
    """Return the padding token, or the first end token where there is none."""
    pad = backbone.tokenizer.pad_token_id
    return int(end_ids(backbone)[0] if pad is None else pad)
