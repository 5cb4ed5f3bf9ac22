"""As PixelReasoner answers: with tools, its system turn and guidelines (TIGER-AI-Lab/Pixel-Reasoner@a3a6c3a).

How its evaluation writes the options of V* is not known; here as in an example of its code. Pixels: as its MIN_PIXELS
and MAX_PIXELS in training.
"""

from __future__ import annotations

from jepa_vlm.evaluation.item import BenchmarkItem
from jepa_vlm.evaluation.protocols.named import LETTERS, PROTOCOLS, NamedProtocol, refuse_preset
from jepa_vlm.generation.pixel_reasoner import PIXEL_REASONER, read_boxed

PIXELS = (401_408, 4_014_080)


@PROTOCOLS.register("pixel-reasoner")
def pixel_reasoner(benchmark: str, preset: str) -> NamedProtocol:
    """Return the protocol; it is the same on every benchmark."""
    refuse_preset("pixel-reasoner", preset)
    return NamedProtocol(
        name="pixel-reasoner-2",
        scoring="tools",
        prompt=_prompt,
        max_new_tokens=PIXEL_REASONER.max_new_tokens,
        read=read_boxed,
        pixels=PIXELS,
        loop=PIXEL_REASONER,
    )


def _prompt(item: BenchmarkItem) -> str:
    options = "".join(f"\n{letter}: {option}" for letter, option in zip(LETTERS, item.options, strict=False))
    return f"{item.question}\nchoices:{options}"
