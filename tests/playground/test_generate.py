"""What is drawn: trajectories, questions, splits, and the specs playground:TASK#KEY=VALUE."""

from __future__ import annotations

import pytest

from jepa_vlm import playground
from jepa_vlm.errors import DataError, JepaVLMError, UnknownNameError
from jepa_vlm.playground import DIRECT_SHARE, World, questions, trajectories
from jepa_vlm.playground.generate import SPLITS, split_of
from jepa_vlm.playground.vocabulary import DIRECT_INSTRUCTION, TOOL_INSTRUCTION
from jepa_vlm.trajectories.load import parse_spec

every_task = pytest.mark.parametrize("task", list(playground.TASKS))


def flat(trajectory):
    """Everything of a trajectory, pixels as bytes."""
    steps = [(step.spoken, step.observation) for step in trajectory.steps]
    pixels = [image.load().tobytes() for image in trajectory.all_images]
    return trajectory.id, trajectory.question, steps, trajectory.answer, trajectory.task, pixels


def asked(question):
    pixels = [image.load().tobytes() for image in question.images]
    return question.id, question.prompt, question.options, question.answer, question.task, pixels


@every_task
def test_the_same_arguments_give_the_same_bytes_and_items_do_not_depend_on_the_count(task):
    few, many = (playground.trajectories(task, count=count, seed=5) for count in (3, 9))
    assert [flat(t) for t in few] == [flat(t) for t in many][:3]
    few, many = (playground.questions(task, count=count, seed=5) for count in (2, 5))
    assert [asked(q) for q in few] == [asked(q) for q in many][:2]


@every_task
def test_different_seeds_and_splits_give_different_items(task):
    items = [playground.questions(task, count=4, seed=seed, split=split) for seed in (0, 1) for split in SPLITS]
    pixels = {image.images[0].load().tobytes() for batch in items for image in batch}
    assert len(pixels) == 6 * 4


def test_a_changed_direct_share_leaves_the_scenes_as_they_are():
    some, none = (playground.trajectories("maze", count=8, direct_share=share) for share in (0.5, 0.0))
    assert [t.images[0].load().tobytes() for t in some] == [t.images[0].load().tobytes() for t in none]


@pytest.mark.parametrize(("share", "expected"), [(0, 0), (0.25, 25), (0.3, 30), (1, 100)])
def test_the_direct_share_is_met(share, expected):
    made = playground.trajectories("visual-search", count=100, direct_share=share)
    assert sum(t.calls == 0 for t in made) == expected


def test_the_default_direct_share_is_three_tenths_and_spread_evenly():
    assert playground.DIRECT_SHARE == 0.3
    made = playground.trajectories("visual-search", count=40)
    assert [sum(t.calls == 0 for t in made[i : i + 10]) for i in range(0, 40, 10)] == [3] * 4


@every_task
def test_direct_and_tool_turns_are_told_apart_by_their_instruction_and_end_in_the_letter(task):
    for trajectory in playground.trajectories(task, count=24):
        instruction = TOOL_INSTRUCTION if trajectory.calls else DIRECT_INSTRUCTION
        assert trajectory.question.endswith(instruction)
        assert trajectory.steps[-1].spoken == trajectory.answer
        assert trajectory.answer in "ABCD"


def test_questions_are_asked_as_direct_turns_are():
    (question,) = playground.questions("chart-reading", count=1, split="train")
    (trajectory,) = playground.trajectories("chart-reading", count=1, direct_share=1)
    assert question.prompt == trajectory.question
    assert question.letters[question.answer] == trajectory.answer
    assert question.images[0].load().tobytes() == trajectory.images[0].load().tobytes()
    assert all(option in question.prompt for option in question.options)


@every_task
def test_every_image_has_whole_tokens(task):
    for trajectory in playground.trajectories(task, count=12, direct_share=0):
        assert trajectory.images[0].size == (112, 112)
        assert all(side % 16 == 0 and side >= 48 for image in trajectory.all_images for side in image.size)


@every_task
def test_every_box_lies_in_its_image(task):
    for trajectory in playground.trajectories(task, count=40, direct_share=0):
        for step in trajectory.steps[:-1]:
            if step.call.box is not None:
                step.call.box.in_pixels(*trajectory.all_images[step.call.image].size)


def test_no_scene_is_in_two_splits():
    keys = {
        split: {
            episode.picture.key
            for task in playground.TASKS
            for episode, _ in playground.episodes(task, count=15, seed=0, split=split)
        }
        for split in SPLITS
    }
    assert all(split_of(key) == split for split in SPLITS for key in keys[split])
    assert not keys["train"] & keys["test"]
    assert not keys["train"] & keys["validation"]
    assert not keys["validation"] & keys["test"]


def test_scenes_are_split_in_the_stated_shares():
    shares = [sum(split_of(f"scene {i}") == split for i in range(5000)) / 5000 for split in SPLITS]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.02)


@pytest.mark.parametrize("make", [playground.trajectories, playground.questions])
def test_wrong_arguments_of_the_generator_are_refused(make):
    with pytest.raises(UnknownNameError, match="Did you mean 'visual-search'"):
        make("visual_search", count=1)
    with pytest.raises(ValueError, match="split must be one of train, validation, test; got 'dev'"):
        make("maze", count=1, split="dev")
    with pytest.raises(ValueError, match=r"at least 0, got count=1 and seed=-1"):
        make("maze", count=1, seed=-1)


def test_a_share_beyond_one_is_refused():
    with pytest.raises(ValueError, match="direct_share must lie in"):
        playground.trajectories("maze", count=1, direct_share=1.5)


def world(text):
    return World.of(parse_spec(f"playground:{text}"))


def test_a_spec_without_options_is_the_task_with_the_defaults():
    assert world("maze") == World("maze") == World("maze", DIRECT_SHARE, {})
    made, plain = world("maze").trajectories(count=8, seed=3), trajectories("maze", count=8, seed=3)
    assert [t.id for t in made] == [t.id for t in plain]
    assert [t.question for t in made] == [t.question for t in plain]


def test_options_of_a_spec_set_the_direct_share_and_the_dials():
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
def test_an_impossible_option_is_refused_with_the_possible_ones(text, error, message):
    with pytest.raises(JepaVLMError, match=message) as caught:
        world(text)
    assert isinstance(caught.value, error)
