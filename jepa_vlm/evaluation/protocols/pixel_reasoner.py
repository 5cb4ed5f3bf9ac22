"""As PixelReasoner answers: with tools, its system turn and guidelines (TIGER-AI-Lab/Pixel-Reasoner@a3a6c3a).

How its evaluation writes the options of V* is not known; here as in an example of its code. Pixels: as its MIN_PIXELS
and MAX_PIXELS in training.
"""

from __future__ import annotations

from jepa_vlm.evaluation.item import BenchmarkItem
from jepa_vlm.evaluation.protocols.named import LETTERS, PROTOCOLS, NamedProtocol, refuse_preset
from jepa_vlm.generation.letter_parser import parse_letter
from jepa_vlm.generation.reply import boxed, without_thoughts
from jepa_vlm.generation.tool_loop import PIXEL_REASONER
from jepa_vlm.trajectories import MultipleChoice

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


def read_boxed(text: str, item: MultipleChoice) -> str | None:
    """Return the option letter in the last box, or, without a box, the one that ``parse_letter`` finds.

    The released code looks for the last box first too (``handle_boxed``), and then compares by math_verify.
    """
    inside = boxed(without_thoughts(text))
    return parse_letter(text if inside is None else inside, item.letters, item.options)
