from __future__ import annotations

from functools import cache

import pytest

from benchmarks.pretrain_tiny.lessons import TEACHERS, lessons
from jepa_vlm import playground
from jepa_vlm.playground.vocabulary import pieces


@cache
def drawn(task):
    return playground.trajectories(task, count=250)


@pytest.mark.parametrize("task", list(playground.TASKS))
def test_every_text_is_made_of_listed_words(task):
    listed = set(playground.words())
    for trajectory in drawn(task):
        steps = [text for step in trajectory.steps for text in (step.spoken, step.observation)]
        assert set(pieces(" ".join((trajectory.question, *steps)))) <= listed


def test_no_listed_word_is_unused():
    used: set[str] = set()
    for task in playground.TASKS:
        for trajectory in drawn(task):
            used.update(pieces(" ".join((trajectory.question, *(step.spoken for step in trajectory.steps)))))
    for teacher in TEACHERS:
        for lesson, _ in lessons(teacher, count=250):
            for turn in lesson.turns:
                used.update(
                    pieces(" ".join(text for form in turn.forms for text in (turn.prompt(form), turn.reply(form))))
                )
    assert set(playground.words()) - used <= set("089") | {"up"}


def test_pieces_are_cut_like_qwen_cuts_them():
    text = 'At 12. <tool_call>{"name": "draw_path", "arguments": {"row": 3}}</tool_call>'
    cut = ["At", "1", "2", ".", "<tool_call>", '{"', "name", '":', '"', "draw", "_path", '",', '"', "arguments", '":']
    assert pieces(text) == [*cut, '{"', "row", '":', "3", "}}", "</tool_call>"]


def test_words_are_sorted_and_few():
    words = playground.words()
    assert list(words) == sorted(set(words))
    assert len(words) < 144


@pytest.mark.parametrize("task", list(playground.TASKS))
def test_texts_are_short(task):
    for trajectory in playground.trajectories(task, count=100, direct_share=0):
        spoken = [len(pieces(step.text)) for step in trajectory.steps]
        assert sum(spoken) <= 45
        assert len(pieces(trajectory.question)) <= 30
