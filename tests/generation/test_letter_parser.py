from __future__ import annotations

import pytest

from jepa_vlm.generation import parse_letter

LETTERS = ("A", "B", "C", "D")
OPTIONS = ("red", "blue", "a small square", "3")

STATED = {
    "A": "A",
    " b\n": "B",
    "(C)": "C",
    "**D**.": "D",
    "Option B": "B",
    "The answer is B.": "B",
    "The answer is A": "A",
    "The answer is A, the red one": "A",
    "answer is A\nbecause of the colour": "A",
    "Answer: C": "C",
    "ANSWER IS D because it is small": "D",
    "The correct option is (A)": "A",
    "The correct answer is option C": "C",
    "Final answer: **B**": "B",
    "The answer is B. No, the answer is C.": "C",
    "The answer is C. Option B is wrong.": "C",
    "I think (C) fits best": "C",
    "C. red": "C",
    "B) the blue one": "B",
    "B: blue": "B",
    "The answer is A. But <answer>B</answer> and then <answer>D</answer>": "D",
    "<answer>\n(B)\n</answer>": "B",
    "Look. <answer>B": "B",
    "<think>The answer is C.</think> A": "A",
    '<tool_call>{"name": "crop", "label": "(A)"}</tool_call> B': "B",
    "blue": "B",
    "A small square.": "C",
    "3": "D",
}
UNSTATED = [
    "",
    "   ",
    "A red apple",
    "The answer is A red apple",
    "The answer is a red apple",
    "The answer is Dog",
    "The answer is A's",
    "The answer is B or C",
    "The answer is C/D",
    "The answer is not B",
    "the answer is E",
    "E",
    "(A) or (B)",
    "A. red\nB. blue",
    "I like the A and the B",
    "A.M.",
    "Apple",
    "red or blue",
    "AB",
    "<answer></answer> A",
    '<tool_call>{"label": "(A)"',
    "<think>The answer is C.",
]


@pytest.mark.parametrize(("text", "letter"), STATED.items())
def test_reads_a_letter_that_is_stated(text, letter):
    assert parse_letter(text, LETTERS, OPTIONS) == letter


@pytest.mark.parametrize("text", UNSTATED)
def test_guesses_nothing(text):
    assert parse_letter(text, LETTERS, OPTIONS) is None


def test_reads_no_letter_beyond_the_options():
    assert parse_letter("C", ("A", "B")) is None
    assert parse_letter("The answer is C.", ("A", "B")) is None


def test_wording_shared_by_two_options_decides_nothing():
    assert parse_letter("red", ("A", "B"), ("red", "Red")) is None
