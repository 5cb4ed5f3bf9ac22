"""What ``playground:TASK#KEY=VALUE`` draws."""

from __future__ import annotations

import pytest

from jepa_vlm.errors import DataError, JepaVLMError, UnknownNameError
from jepa_vlm.playground import DIRECT_SHARE, World, questions, trajectories
from jepa_vlm.trajectories.data_spec import parse_spec


def world(text):
    return World.of(parse_spec(f"playground:{text}"))


def test_without_options_it_is_the_task_with_the_defaults():
    assert world("maze") == World("maze") == World("maze", DIRECT_SHARE, {})
    made, plain = world("maze").trajectories(count=8, seed=3), trajectories("maze", count=8, seed=3)
    assert [t.id for t in made] == [t.id for t in plain]
    assert [t.question for t in made] == [t.question for t in plain]


def test_options_set_the_direct_share_and_the_dials():
    dials = {"size": (10, 12), "objects": (5, 5), "bars": (4, 7), "path": (1, 2)}
    found = world("visual-search#direct=0.5,size=10-12,objects=5,bars=4-7,path=1-2")
    assert found == World("visual-search", 0.5, dials)
    assert sum(t.calls == 0 for t in found.trajectories(count=20)) == 10


def test_questions_are_of_the_same_difficulty_whatever_the_direct_share():
    def pixels(items):
        return [item.images[0].load().tobytes() for item in items]

    hard = {"size": (12, 12)}
    assert pixels(world("visual-search#direct=1,size=12").questions(count=3)) == pixels(
        questions("visual-search", count=3, dials=hard)
    )
    assert pixels(world("visual-search#size=12").questions(count=3, split="validation")) == pixels(
        questions("visual-search", count=3, split="validation", dials=hard)
    )


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("maze#dirct=1", UnknownNameError, "No playground option named 'dirct'.*'direct'.*Known: bars, direct, obj"),
        ("maze#direct=2", DataError, "direct must be a share from 0 to 1, got '2'.*Options are direct.*size, objects"),
        ("maze#direct=nan", DataError, "direct must be a share"),
        ("maze#direct=", DataError, "direct must be a share .* got ''"),
        ("maze#path=6-3", DataError, r"path must be .* got \(6, 3\).*Options are direct"),
        ("maze#path=three", DataError, "path must be LOW-HIGH or one number, got 'three'"),
        ("maze#size=99", DataError, r"4 <= low <= high <= 14, got \(99, 99\)"),
        ("maze#direct", DataError, "must be KEY=VALUE.*got 'playground:maze#direct'"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(text, error, message):
    with pytest.raises(JepaVLMError, match=message) as caught:
        world(text)
    assert isinstance(caught.value, error)
