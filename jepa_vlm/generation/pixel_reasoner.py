"""PixelReasoner's inference: its tools, its words, and how its answers are read.

Wang et al., arXiv:2505.15966; TIGER-AI-Lab/Pixel-Reasoner@a3a6c3a, experience_maker.py. Where they differ: at most
three calls are run (its code runs a fourth), [0, 0, 1, 1] is the whole image (its code takes any box with an edge of 1
for pixels), and boxes that are no boxes are refused in words instead of by Python's assertions.
"""

from __future__ import annotations

from jepa_vlm.generation.letter_parser import parse_letter
from jepa_vlm.generation.reply import boxed, without_thoughts
from jepa_vlm.generation.tool_loop import ToolLoop, tool_system
from jepa_vlm.generation.tools import IMAGE_TOOLS
from jepa_vlm.trajectories import MultipleChoice

GUIDELINES = (
    "\n\nGuidelines: Understand the given visual information and the user query. "
    "Determine if it is beneficial to employ the given visual operations (tools). "
    "For a video, we can look closer by `select_frames`. For an image, we can look closer by `crop_image`. "
    "Reason with the visual information step by step, and put your final answer within \\boxed{}."
)
_OFFERED = ("crop_image_normalized", "select_frames")

PIXEL_REASONER = ToolLoop(
    tools={name: IMAGE_TOOLS[name] for name in ("crop_image", *_OFFERED)},
    system=tool_system([IMAGE_TOOLS[name] for name in _OFFERED]),
    guidelines=GUIDELINES,
    observation="\nHere is the cropped image (Image Size: {width}x{height}):",
    image_first=False,
    crop_tokens=(256, 5120),
)


def read_boxed(text: str, item: MultipleChoice) -> str | None:
    """Return the option letter in the last box, or, without a box, the one that ``parse_letter`` finds.

    The released code looks for the last box first too (``handle_boxed``), and then compares by math_verify.
    """
    inside = boxed(without_thoughts(text))
    return parse_letter(text if inside is None else inside, item.letters, item.options)
