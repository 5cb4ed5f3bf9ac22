from __future__ import annotations

import pytest
from PIL import Image

from jepa_vlm.evaluation.protocols.pixel_reasoner import read_boxed
from jepa_vlm.generation.reply import boxed
from jepa_vlm.generation.tool_loop import PIXEL_REASONER
from jepa_vlm.trajectories import LazyImage, MultipleChoice

IMAGES = (LazyImage(pixels=Image.new("RGB", (8, 8))),)
ITEM = MultipleChoice(id="a", images=IMAGES, prompt="?", options=("red", "blue", "dark green"), answer=0)


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("so \\boxed{A}", "A"),
        ("\\boxed{A} no, \\boxed{B}.", "B"),
        ("\\boxed{\\text{B}}", "\\text{B}"),
        ("\\boxed{A} then \\boxed{B", "A"),
        ("\\boxed {C}", "C"),
        ("none", None),
        ("\\boxed{", None),
    ],
)
def test_the_last_closed_box(text, inside):
    assert boxed(text) == inside


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("The answer is A, no: \\boxed{B}", "B"),
        ("\\boxed{\\text{C. dark green}}", "C"),
        ("\\boxed{dark green}", "C"),
        ("\\boxed{D}", None),
        ("The answer is B", "B"),
        ("<answer>A</answer>", "A"),
        ("", None),
    ],
)
def test_the_letter_in_it(text, letter):
    assert read_boxed(text, ITEM) == letter


def test_what_the_released_checkpoint_is_offered():
    assert list(PIXEL_REASONER.tools) == ["crop_image", "crop_image_normalized", "select_frames"]
    assert PIXEL_REASONER.max_calls == 3
    assert PIXEL_REASONER.system.index('"crop_image_normalized"') < PIXEL_REASONER.system.index('"select_frames"')
    assert PIXEL_REASONER.system.startswith("You are a helpful assistant.\n\n# Tools\n\nYou may call one or more")
    assert PIXEL_REASONER.system.endswith('{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>')
    assert PIXEL_REASONER.guidelines.endswith("put your final answer within \\boxed{}.")
