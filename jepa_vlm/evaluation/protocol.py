"""How items are asked and read: recorded with every result, so that unequal measurements are seen to be unequal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from jepa_vlm.generation import SCORINGS, Scoring
from jepa_vlm.generation.option_letters import SHORT_TOKENS

PROMPT = "one user turn: the images, then the item's prompt; the chat template's own system turn and generation prompt"


@final
@dataclass(frozen=True)
class Protocol:
    """One way of measuring.

    Args:
        scoring: How an option letter is read.
        max_new_tokens: Most tokens generated per item; 0 where nothing is generated.
        min_pixels, max_pixels: The image processor's pixel budget; None where it has none.
        prompt: How an item becomes a prompt.
        decoding: How tokens are chosen.
        name: Version of these rules.

    Raises:
        ValueError: If a field is out of range.
    """

    scoring: Scoring
    max_new_tokens: int
    min_pixels: int | None = None
    max_pixels: int | None = None
    prompt: str = PROMPT
    decoding: str = "greedy"
    name: str = "jepa-vlm-1"

    def __post_init__(self) -> None:
        if self.scoring not in SCORINGS:
            raise ValueError(f"scoring must be one of {', '.join(SCORINGS)}; got {self.scoring!r}.")
        if self.max_new_tokens < 0:
            raise ValueError(f"max_new_tokens must not be negative, got {self.max_new_tokens}.")


def protocol_for(processor: Any, scoring: Scoring, *, max_new_tokens: int) -> Protocol:
    """Return the protocol that a processor's own pixel budget and a scoring make; ``max_new_tokens`` is of ``free``."""
    size = dict(processor.image_processor.size or {})
    tokens = {"letter-logits": 0, "short": SHORT_TOKENS, "free": max_new_tokens}[scoring]
    return Protocol(
        scoring=scoring,
        max_new_tokens=tokens,
        min_pixels=_whole(size.get("shortest_edge")),
        max_pixels=_whole(size.get("longest_edge")),
    )


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None
