"""A small byte-level tokenizer, made on the spot, which any family's processor accepts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX, Qwen2Tokenizer

from jepa_vlm import playground

CALL_TAGS = ("<tool_call>", "</tool_call>")  # words of the vocabulary, not structure: a text may hold them


def tiny_tokenizer(
    *,
    words: tuple[str, ...],
    specials: tuple[str, ...],
    eos: str,
    pad: str,
    bos: str | None = None,
    named: Mapping[str, str] | None = None,
) -> Qwen2Tokenizer:
    """Return a byte-level BPE tokenizer, lossless on any text, in which each word of the playground is one token.

    Args:
        words: Further words that become one token each, at the start of a line and after a space.
        specials: Structural tokens, in the order of their identifiers.
        eos, pad, bos: Those of them that end a turn, fill a batch and open a text.
        named: Those of them that the family's processor asks for by an attribute, such as ``image_token``.
    """
    core = Tokenizer(models.BPE())
    core.normalizer = normalizers.NFC()
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=100_000,
        min_frequency=1,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    known = sorted({*words, *playground.words()})
    core.train_from_iterator([form for word in known for form in (word, f" {word}")], trainer)
    learned = json.loads(core.to_str())["model"]
    learned_merges: Any = [tuple(merge) for merge in learned["merges"]]
    more: Any = {"extra_special_tokens": dict(named)} if named else {}
    tokenizer = Qwen2Tokenizer(vocab=learned["vocab"], merges=learned_merges, model_max_length=4096, **more)
    tokenizer.add_tokens([AddedToken(s, special=True, normalized=False) for s in specials], special_tokens=True)
    tokenizer.add_tokens([AddedToken(s, special=False, normalized=False) for s in CALL_TAGS])
    tokenizer.eos_token, tokenizer.pad_token = eos, pad
    if bos is not None:
        tokenizer.bos_token = bos
    return tokenizer


def identifiers(tokenizer: Any) -> Callable[[str], int]:
    """Return what gives a token's identifier."""
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    return vocabulary.__getitem__
