from __future__ import annotations

import random
from string import ascii_uppercase

import pytest

from jepa_vlm.generation import parse_letter

LETTERS = ("A", "B", "C", "D")
OPTIONS = ("red", "blue", "a small square", "3")

# {} is a letter, {o} the wording of its option. Each form is read alike for every letter.
READ = r"""
{} | {}. | ({}) | **{}**. | ({}.) | [{}] | `{}` | "{}" | ${}$ | \({}\) | __{}__ | Option {} | the letter {}
Answer {} | The answer is {}. | The answer is {} | Answer: {} | ANSWER IS {} because it is small
answer is {}\nbecause of the colour | The correct option is ({}) | The correct answer is option {}
Final answer: **{}** | the answer would be {} | Answer = {} | The answer is {}, the one on top
The answer is {} because | The answer is **{}** red apple | the answer is most likely {} | Answer: {}) {o}
The answer is {}) {o}. | The answer is **{}) {o}** | Answer: **{}** {o} | The answer is [{}] {o} | Answer: {} {o}
{}. {o} | {}) {o} | ({}) {o} | {}: {o} | {} - {o} | {} because | {}\n\nThe picture shows a mug. | **Answer:** {}
**Answer**: {} | ***ANSWER***: ***{}*** | ### Answer\n{} | ## Final answer\n\n**{}** | > **Answer:** {}
- **Answer:** {} | Answer: <b>{}</b> | {{"answer": "{}"}} | ANSWER: ${} | Answer → {} | The answer is\n\n{}
\boxed{{{}}} | \boxed{{\text{{{}}}}} | $\boxed{{{}}}$ | The answer is \boxed{{{}}}.
\[\boxed{{\textbf{{({}) {o}}}}}\] | Answer: $\mathbf{{{}}}$ | <|begin_of_box|>{}<|end_of_box|>
\boxed{{\alpha}} but the answer is {} | （{}） | 答案：{} | 答案是（{}）。 | 正确答案是{}。 | 选{} | 故选：{} | 【{}】
选择{}选项 | Option {} is correct. | ({}) is the right choice. | {} is the best answer, I think.
Looking closely, {} is correct | I choose {}. | I'd go with ({}) | My choice is {} | It's {}. | It must be {}.
So {}. | I think it is {} | leaving {} | The answer to the question is {}.
The best answer among the options is: ({}) | I think ({}) fits best | The mug is on the left. {}.
Some reasoning.\n\n{} | <answer>\n({})\n</answer> | Look. <answer>{} | {}</answer> and more
<think>The answer is A.</think> {} | Maybe A or B.</think>\n\nThe answer is {} | <think>A</think>\boxed{{{}}}
<tool_call>{{"label": "(A)"}}</tool_call> {} | ~~(A)~~ ({}) | The answer is A? No. The answer is {}.
"""
FORMS = [form.strip(" ").replace("\\n", "\n") for form in READ.strip("\n").replace("\n", " | ").split(" | ")]


@pytest.mark.parametrize("form", FORMS)
def test_the_parser_reads_a_stated_letter_whichever_it_is(form):
    for letter, option in zip(LETTERS, OPTIONS, strict=True):
        assert parse_letter(form.format(letter, o=option), LETTERS, OPTIONS) == letter


@pytest.mark.parametrize("form", ["{}", "The answer is {} because", "I pick {}, I think", "Answer: {}. I am sure"])
def test_the_parser_reads_each_of_26_letters(form):
    assert [parse_letter(form.format(x), ascii_uppercase) for x in ascii_uppercase] == list(ascii_uppercase)


STATED = {
    " b\n": "B",
    "The correct answer is d.": "D",
    "The answer is B. No, the answer is C.": "C",
    "The answer is C. Option B is wrong.": "C",
    "The answer is A. But <answer>B</answer> and then <answer>D</answer>": "D",
    "<answer>B<answer>D": "D",
    "\\boxed{A}, no: \\boxed{B}": "B",
    "\\boxed{A} then \\boxed{B": "A",
    "blue": "B",
    "A small square.": "C",
    "The answer is a small square.": "C",
    "3": "D",
    "Answer: blue, because it is not red": "B",
    "A is wrong, so the answer is B": "B",
    "The answer is B because A is wrong": "B",
    "The answer is B, not A": "B",
    "It is not A, it is B": "B",
    "Answer: It is not B, the answer is D": "D",
    "(A) is wrong. (B) fits.": "B",
    "B is correct and A is wrong": "B",
    "Conclusion: (B). Eliminated: (A), (C), (D).": "B",
    "A: wrong\nB: correct": "B",
    "A. red\nB. blue\nAnswer: B": "B",
    "C. A pretty red one, unlike (A)": "C",
    "Answer: I think it is C": "C",
}
UNSTATED = [
    *("", "   ", "A red apple", "The answer is A red apple", "The answer is a red apple", "The answer is Dog"),
    *("The answer is A's", "The answer is B or C", "The answer is C/D", "the answer is E", "E", "(A) or (B)"),
    *("The answer is (A) or B", "Both A and B are correct", "A, B", "A. red\nB. blue", "A) red B) blue"),
    *("(A) red (B) blue", "Choose the best answer:\nA. red\nB. blue", "I like the A and the B", "A.M.", "Apple"),
    *("red or blue", "AB", "<answer></answer> A", '<tool_call>{"label": "(A)"', "I", "I think", "I am not sure."),
    *("A is left of B", "The mug A is right next to it", "Option A is small. Option B is tall.", "f(A) = 3"),
    *("<b>red</b> or blue", "\\boxed{\\alpha}", "\\boxed{B", "The answer is B. Wait, the answer is not B."),
    *("<think>The answer is C.", "B <think>and", "The answer is B.</think>", "<think>x</think><think>B"),
]
DENIED = """
It is certainly not ({}) | ({}) is wrong | {} is wrong. | {} is incorrect | **{}** is not correct | {}) is wrong
Not {} | neither {} nor C | Neither ({}) nor (C). | The answer is not {}. | The answer isn't {}
The answer is not ({}) | I don't think the answer is {} | I would not choose ({}) | It can't be ({})
({}) can be ruled out | rather than {} | instead of ({}) | Unlike ({}), it is small | ({}) and (C) are wrong
It is not (C), ({}) | {}. {o} is wrong | Except ({}) | Is it ({})? | Could the answer be {}?
If the answer is {}, then | The answer could be {} | 答案不是{} | 不选{} | {}是错误的
"""


@pytest.mark.parametrize(("text", "letter"), STATED.items())
def test_the_parser_reads_the_letter_that_is_meant(text, letter):
    assert parse_letter(text, LETTERS, OPTIONS) == letter


@pytest.mark.parametrize("text", UNSTATED)
def test_the_parser_never_guesses_a_letter(text):
    assert parse_letter(text, LETTERS, OPTIONS) is None


@pytest.mark.parametrize("form", DENIED.strip().replace("\n", " | ").split(" | "))
def test_the_parser_reads_no_letter_from_a_denial_a_supposition_or_a_question(form):
    for letter, option in zip(LETTERS, OPTIONS, strict=True):
        if letter != "C" or "C" not in form:
            assert parse_letter(form.format(letter, o=option), LETTERS, OPTIONS) is None


def test_the_parser_reads_no_letter_beyond_the_options():
    assert parse_letter("C", ("A", "B")) is None
    assert parse_letter("The answer is C.", ("A", "B")) is None


def test_wording_shared_by_two_options_decides_nothing():
    assert parse_letter("red", ("A", "B"), ("red", "Red")) is None
    assert parse_letter("The answer is red", ("A", "B"), ("red", "Red")) is None


WORDS = r"""
answer is the option : . , ( ) - / it it's I'm so because not and or nor wrong correct if ? red apple think choose
** $ \boxed{ } <answer> </answer> <think> </think> 答案 选 （ ） ：
"""


def _soup(rng: random.Random, letters: str, options: list[str]) -> list[tuple[str, str]]:
    """Return words and letters in no order, as pairs of a form and the letter that it takes."""
    forms = ("{}", "{}", "({})", "**{}**", "{}.", "{})", "{}:", "\\boxed{{{}}}")
    return [
        (rng.choice(forms), rng.choice(letters))
        if rng.random() < 0.4
        else (rng.choice([*WORDS.split(), "\n", *options]), "")
        for _ in range(rng.randint(1, 9))
    ]


def test_renaming_the_option_letters_renames_the_parsed_letter():
    rng, read = random.Random(0), 0
    for _ in range(1200):
        letters = ascii_uppercase[: rng.choice([2, 4, 10, 26])]
        options = [f"{rng.choice(['red', 'blue', 'left mug'])} {i}" for i in range(len(letters))]
        names = dict(zip(letters, rng.sample(letters, len(letters)), strict=True)) | {"": ""}
        soup = _soup(rng, letters, options)
        text, renamed = (
            " ".join(form.format(of[letter]) if letter else form for form, letter in soup)
            for of in ({letter: letter for letter in letters}, names)
        )
        moved = {names[letter]: option for letter, option in zip(letters, options, strict=True)}
        found = parse_letter(text, letters, options)
        again = parse_letter(renamed, letters, [moved[letter] for letter in letters])
        assert again == (None if found is None else names[found]), (text, renamed)
        read += found is not None
    assert read > 300


@pytest.mark.parametrize("part", ["\\boxed{", "<think>", "answer is ", "((", "A or B, ", " "])
def test_parsing_a_long_reply_takes_linear_time(part):
    """With quadratic time it would not end."""
    length = 1_000_000 if part.isspace() else 100_000
    assert parse_letter("The answer is " + part * (length // len(part)) + "E", LETTERS) is None
