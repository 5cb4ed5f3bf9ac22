"""What each protocol makes of a reply, its quirks included."""

from __future__ import annotations

import pytest
from PIL import Image

from jepa_vlm.evaluation import load_protocol
from jepa_vlm.trajectories import LazyImage, MultipleChoice


def item(*, options: int = 4, answer: int = 1) -> MultipleChoice:
    wordings = ("rubber", "cotton", "kevlar", "leather")[:options]
    image = LazyImage(pixels=Image.new("RGB", (8, 8)))
    return MultipleChoice(id="a", images=(image,), prompt="?", options=wordings, answer=answer)


def read(protocol: str, benchmark: str, text: str, **asked: int) -> str | None:
    return load_protocol(protocol, benchmark=benchmark).read(text, item(**asked))


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"),
        ("<answer>B</answer>", "B"),
        ("<answer>A</answer> no, <answer> C. kevlar</answer>", "C"),
        ("Because the glove is dull", "B"),  # the first character, whatever it belongs to
        ("b", None),
        ("The answer is B", None),
        ("", None),
    ],
)
def test_the_lvr_reader_reads_letters_as_its_code_does(text, letter):
    assert read("lvr", "vstar", text) == letter


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B</answer>", "B"),
        ("A or B", "B"),  # the right letter anywhere counts as right
        ("A", "A"),
        ("Cotton", "C"),
        ("cotton", None),
        ("AB", "B"),
    ],
)
def test_the_released_pearl_reader_reads_letters_as_its_code_does(text, letter):
    assert read("pearl-released", "mmvp", text) == letter


def test_the_released_pearl_thinkmorph_reader_rejects_several_letters():
    assert read("pearl-released:thinkmorph", "vstar", "AB") is None
    assert read("pearl-released:thinkmorph", "vstar", "B") == "B"


@pytest.mark.parametrize(
    ("benchmark", "text", "letter"),
    [
        ("vstar", "b) cotton", "B"),
        ("vstar", "Answer: B", "A"),  # it begins with an A
        ("vstar", "The answer is C", "C"),
        ("vstar", "It is (D)", "D"),
        ("vstar", "I say D.", "D"),
        ("vstar", "So B it is", "B"),
        ("vstar", "nothing", None),
        ("vstar", "oh yes, kevlar", "A"),  # the only letter of A to D in it
        ("vstar", "", None),
        ("mmvp", "(a) Open", "A"),
        ("mmvp", "The answer is (B)", "B"),
        ("mmvp", "Option A", "A"),
        ("mmvp", "It looks like a b", "A"),
        ("mmvp", "both", "B"),
        ("mmvp", "closed", None),
        ("blink", "(C)", "C"),
        ("blink", "The answer is B", None),  # "T" is no option
        ("blink", "  b", "B"),
        ("blink", "", None),
    ],
)
def test_the_lmms_eval_reader_reads_letters_as_its_code_does(benchmark, text, letter):
    assert read("lmms-eval", benchmark, text) == letter


def test_a_letter_that_is_not_offered_is_no_answer():
    assert read("lmms-eval", "vstar", "D", options=2) is None
    assert read("lvr", "vstar", "D", options=2) is None
    assert read("vlmevalkit", "vstar", "D", options=2) is None


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"),
        ("B.", "B"),
        ("The letter is: (C)", "C"),
        ("C is what I would choose of all these", None),  # not among the last five words
        ("The answer is **D**, since the glove is plainly made of a hide", "D"),
        ("A B", None),
        ("kevlar", "C"),
        ("cotton or leather", None),
        ("Z", None),
        ("Cannot determine the answer B", None),
        ("", None),
    ],
)
def test_the_vlmevalkit_reader_reads_letters_as_its_code_does(text, letter):
    assert read("vlmevalkit", "vstar", text) == letter
