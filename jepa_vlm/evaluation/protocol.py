"""How items are asked and read. It is recorded with every result, so that unequal measurements are not compared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

from jepa_vlm.errors import BackboneError
from jepa_vlm.evaluation.protocols import LIBRARY, NamedProtocol
from jepa_vlm.generation import SCORINGS, Scoring
from jepa_vlm.generation.answering import Answering, Plain
from jepa_vlm.generation.letters import SHORT_TOKENS
from jepa_vlm.generation.tool_loop import ToolLoop

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
        prefix: Beginning that the prompt gives to every answer.
        system: The system turn; "" for the chat template's own.
        tools: Tools that may be called, and how often; "" without tools.
        latents: Latent steps before the answer, in words; "" without any.

    Raises:
        ValueError: If a field is out of range.
    """

    scoring: Scoring
    max_new_tokens: int
    min_pixels: int | None = None
    max_pixels: int | None = None
    prompt: str = PROMPT
    decoding: str = "greedy"
    name: str = LIBRARY.name
    prefix: str = ""
    system: str = ""
    tools: str = ""
    latents: str = ""

    def __post_init__(self) -> None:
        known = (*SCORINGS, "tools")
        if self.scoring not in known:
            raise ValueError(f"scoring must be one of {', '.join(known)}; got {self.scoring!r}.")
        if self.max_new_tokens < 0:
            raise ValueError(f"max_new_tokens must not be negative, got {self.max_new_tokens}.")


def protocol_for(
    processor: Any,
    scoring: Scoring,
    *,
    rules: NamedProtocol = LIBRARY,
    loop: ToolLoop | None = None,
    answering: Answering = Plain(),  # noqa: B008
) -> Protocol:
    """Return the protocol that a processor's own pixel budget, a scoring and a named protocol's rules make.

    ``loop`` counts under the scoring ``tools``, ``answering`` under the others.
    """
    size = dict(processor.image_processor.size or {})
    low, high = rules.pixels or (size.get("shortest_edge"), size.get("longest_edge"))
    tokens = {"letter-logits": 0, "short": SHORT_TOKENS, "free": rules.max_new_tokens + answering.room}
    named = {"name": rules.name, "prefix": rules.prefix, "system": rules.system}
    if scoring == "tools" and loop is not None:
        tokens["tools"] = loop.max_new_tokens
        named |= {"prefix": "", "system": loop.system, "tools": f"{', '.join(loop.tools)}; {loop.max_calls} calls"}
    if scoring != "tools" and answering.latents:
        named |= {"latents": answering.latents}
    return Protocol(
        scoring=scoring, max_new_tokens=tokens[scoring], min_pixels=_whole(low), max_pixels=_whole(high), **named
    )


@contextmanager
def pixel_budget(image_processor: Any, pixels: tuple[int, int] | None) -> Iterator[None]:
    """Give an image processor a pixel budget inside the block; None leaves it its own.

    Raises:
        BackboneError: If the processor's size is no pixel budget, so that the protocol's cannot be kept.
    """
    if pixels is None:
        yield
        return
    own = image_processor.size
    if "longest_edge" not in dict(own or {}):
        raise BackboneError(
            f"The protocol limits images to {pixels[0]:,} to {pixels[1]:,} pixels, but the image processor "
            f"{type(image_processor).__name__} has no pixel budget; take a protocol without one."
        )
    image_processor.size = {**dict(own), "shortest_edge": pixels[0], "longest_edge": pixels[1]}
    try:
        yield
    finally:
        image_processor.size = own


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None
