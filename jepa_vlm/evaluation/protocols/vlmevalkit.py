"""As VLMEvalKit measures VStarBench, MMVP and BLINK (open-compass/VLMEvalKit@e8e78f0) with Qwen2VLChat and
``--judge exact_matching``.

A reply that its rules cannot read is wrong; with a language model as judge they would be read, which is not done here.
It samples with top_k 1, which is greedy decoding. Questions are the benchmarks' own; those of its TSV files may differ.
"""

from __future__ import annotations

import re

from jepa_vlm.evaluation.item import BenchmarkItem
from jepa_vlm.evaluation.protocols.named import PROTOCOLS, NamedProtocol, lettered, refuse_preset
from jepa_vlm.trajectories import MultipleChoice

PIXELS = (1280 * 28 * 28, 16384 * 28 * 28)
TOKENS = 2048

_PUNCTUATION = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
_STATED = re.compile(r"answer\s+is\s+\**([ABCD])", re.IGNORECASE)
_REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)


@PROTOCOLS.register("vlmevalkit")
def vlmevalkit(benchmark: str, preset: str) -> NamedProtocol:
    """Return the protocol; it is the same on every benchmark."""
    refuse_preset("vlmevalkit", preset)
    return NamedProtocol(
        name="vlmevalkit-1",
        scoring="free",
        prompt=_prompt,
        max_new_tokens=TOKENS,
        read=read_exact_matching,
        pixels=PIXELS,
    )


def _prompt(item: BenchmarkItem) -> str:
    return (
        f"Question: {item.question}\nOptions:\n{lettered(item)}"
        "Please select the correct answer from the options above. \n"
    )


def read_exact_matching(text: str, item: MultipleChoice) -> str | None:
    """Return what ``can_infer`` (``vlmeval/utils/matching_util.py``) finds.

    It is the only option letter that is a word of the reply, if it is among the last five words (the first time
    that it occurs); else the letter of "answer is X"; else the only option whose wording the reply holds.
    """
    if any(refusal in text for refusal in _REFUSALS):
        return None
    words = text.translate(_PUNCTUATION).split()
    there = [letter for letter in item.letters if letter in words]
    if len(there) == 1 and words.index(there[0]) > len(words) - 5:
        return there[0]
    if not there and "Z" in words:
        return None
    stated = _STATED.search(text)
    if stated is not None and stated[1].upper() in item.letters:
        return stated[1].upper()
    reply, wordings = text.lower(), [option.lower() for option in item.options]
    if len(reply) > 2 * sum(map(len, wordings)):
        return None
    worded = [letter for letter, wording in zip(item.letters, wordings, strict=True) if wording in reply]
    return worded[0] if len(worded) == 1 else None
