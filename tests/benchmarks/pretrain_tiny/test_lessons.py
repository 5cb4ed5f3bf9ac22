"""Lessons are right, balanced, and say nothing about their answers."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from functools import lru_cache

import numpy as np
import pytest
from scipy.stats import binom, chisquare
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from benchmarks.pretrain_tiny.lessons import TEACHERS, Shown, Turn, lessons
from jepa_vlm.playground.canvas import CELL, GRID, RGB
from jepa_vlm.playground.generate import split_of
from jepa_vlm.playground.tasks.jigsaw import paint_blobs
from jepa_vlm.playground.tasks.maze import step
from jepa_vlm.playground.tools import TOOLS
from jepa_vlm.playground.vocabulary import LETTERS, MOVES, pieces, words

pytestmark = pytest.mark.slow  # thousands of lessons are drawn
every_teacher = pytest.mark.parametrize("teacher", list(TEACHERS))
RARE = 1e-4  # how unlikely a chance result must be before a test calls it a leak; seeds are fixed
VALUES = {
    "color": 8, "shape": 8, "color-at": 8, "shape-at": 8, "column": 7, "row": 7, "relative": 4, "candidates": 8,
    "count": 5, "option": 31, "total": 6, "tallest": 8, "shortest": 8, "height": 7, "bar-at": 8,
    "exit": 7, "exit-from": 7, "open": 2, "open-from": 2, "piece": 4, "closeup-color": 8, "closeup-shape": 8,
}  # fmt: skip


@lru_cache
def drawn(teacher, split):
    count = 1500 if teacher in ("scene", "chart", "closeup") else 1000
    if split == "test":  # a tenth of the pictures are, and the others are drawn in vain
        count = 200
    return [lesson for lesson, _ in lessons(teacher, count=count, split=split)]


def by_kind(teacher, split) -> dict[str, list[Turn]]:
    """One turn of a kind from each lesson: turns on one picture are not independent."""
    found = defaultdict(list)
    for lesson in drawn(teacher, split):
        for turn in {turn.kind: turn for turn in lesson.turns if turn.options}.values():
            found[turn.kind].append(turn)
    return found


def test_every_kind_has_a_number_of_values():
    kinds = {kind for teacher in TEACHERS for kind in by_kind(teacher, "train")}
    assert kinds == set(VALUES)


@every_teacher
def test_answers_of_lessons_are_uniform(teacher):
    for kind, turns in by_kind(teacher, "train").items():
        counts = Counter(turn.answer for turn in turns)
        assert len(counts) == VALUES[kind], kind
        if kind == "option":  # its question says the answer; the letter is what is asked
            continue
        assert chisquare(list(counts.values())).pvalue > RARE, (kind, counts)


@every_teacher
def test_letters_of_lessons_are_uniform(teacher):
    for kind, turns in by_kind(teacher, "train").items():
        counts = Counter(turn.reply("letter") for turn in turns)
        assert len(counts) == min(len(LETTERS), VALUES[kind])
        assert chisquare(list(counts.values())).pvalue > RARE, (kind, counts)


@every_teacher
@pytest.mark.parametrize("form", ["word", "letter"])
def test_a_fitted_text_classifier_stays_at_chance(teacher, form):
    """A classifier over the words of a prompt and their pairs, fitted for each kind."""
    held_out = by_kind(teacher, "test")
    for kind, turns in by_kind(teacher, "train").items():
        asked = form if form in turns[0].forms else "letter"
        counts = CountVectorizer(ngram_range=(1, 2), token_pattern=r"\w+", lowercase=False)
        features = counts.fit_transform([turn.prompt(asked) for turn in turns])
        model = LogisticRegression(max_iter=300, C=0.1).fit(features, [turn.reply(asked) for turn in turns])
        test = held_out[kind]
        guesses = model.predict(counts.transform([turn.prompt(asked) for turn in test]))
        right = sum(guess == turn.reply(asked) for guess, turn in zip(guesses, test, strict=True))
        chance = 1 / (VALUES[kind] if asked == "word" else min(len(LETTERS), VALUES[kind]))
        assert binom.sf(right - 1, len(test), chance) > RARE, (kind, right, len(test))


@every_teacher
def test_options_are_distinct_and_hold_the_answer(teacher):
    for lesson in drawn(teacher, "test"):
        for turn in lesson.turns:
            if turn.options:
                assert len(set(turn.options)) == len(turn.options) in (2, 4)
                assert turn.options["ABCD".index(turn.reply("letter"))] == turn.reply("word") == turn.answer


@every_teacher
def test_every_text_is_made_of_listed_words(teacher):
    listed = set(words())
    for lesson in drawn(teacher, "test"):
        for turn in lesson.turns:
            for form in turn.forms:
                assert set(pieces(f"{turn.prompt(form)} {turn.reply(form)}")) <= listed


@every_teacher
def test_lessons_keep_to_their_split_and_their_number_of_turns(teacher):
    for lesson in drawn(teacher, "test"):
        assert split_of(lesson.picture.key) == "test"
        assert len(lesson.turns) == TEACHERS[teacher].turns_per_lesson


def test_a_lesson_does_not_depend_on_how_many_are_drawn():
    few, many = (list(lessons("scene", count=n, seed=(3, 1))) for n in (2, 5))
    assert [lesson for lesson, _ in few] == [lesson for lesson, _ in many[:2]]
    pictures = [np.asarray(lesson.picture.draw(rng)) for lesson, rng in (few[1], many[1])]
    assert np.array_equal(*pictures)


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="split must be one of train, validation, test; got 'dev'"):
        next(lessons("scene", count=1, split="dev"))


@pytest.mark.parametrize("teacher", ["scene", "place", "relation", "option"])
def test_scene_answers_are_true(teacher):
    """Each answer recomputed from the scene by other means."""
    checked = Counter()
    for lesson in drawn(teacher, "test"):
        things = lesson.picture.things
        at = {f"column {t.cell[0]} row {t.cell[1]}": t for t in things}
        for turn in lesson.turns:
            said = turn.question.rstrip("?").split()
            if turn.kind == "color":
                assert [t.color for t in things if t.shape == said[-1]] == [turn.answer]
            elif turn.kind == "shape":
                assert [t.shape for t in things if t.color == said[4]] == [turn.answer]
            elif turn.kind in ("color-at", "shape-at"):
                assert getattr(at[" ".join(said[-4:])], turn.kind[:5]) == turn.answer
            elif turn.kind in ("column", "row"):
                cells = [t.cell for t in things if is_called(t, said[4:-1])]
                assert [str(cell[turn.kind == "row"]) for cell in cells] == [turn.answer]
            elif turn.kind == "count":
                assert str(sum(said[-1] in (t.color, t.shape) for t in things)) == turn.answer
            elif turn.kind == "option":
                assert said[-1] == turn.answer
            elif turn.kind == "total":
                assert str(len(things)) == turn.answer
            elif turn.kind == "candidates":
                fits = [t.color for t in things if t.color in turn.options and t.shape == said[-1]]
                assert fits == [turn.answer]
            elif turn.kind == "relative":
                split = said.index("from")
                (thing,), (anchor,) = (
                    [t for t in things if is_called(t, name)] for name in (said[3:split], said[split + 2 :])
                )
                dx, dy = (thing.cell[axis] - anchor.cell[axis] for axis in (0, 1))
                assert (
                    turn.answer
                    == {(-1, 0): "left", (1, 0): "right", (0, -1): "above", (0, 1): "below"}[
                        (int(np.sign(dx)), int(np.sign(dy)))
                    ]
                )
            else:
                names = [t.name for t in sorted(things, key=lambda t: t.cell) if t.cell[1] == int(said[-1])]
                assert turn.answer == (", ".join(names) or "nothing")
            checked[turn.kind] += 1
    assert min(checked.values()) >= 20


def is_called(thing, said):
    return {thing.color, thing.shape, "object"}.issuperset(said)


@pytest.mark.parametrize("teacher", ["maze", "way"])
def test_maze_answers_are_true(teacher):
    for lesson in drawn(teacher, "test")[:200]:
        maze = lesson.picture
        doors = maze.doors
        for turn in lesson.turns:
            if turn.kind in ("open", "open-from"):
                said = turn.question.rstrip("?").split()
                room = maze.start if turn.kind == "open" else (int(said[2]), int(said[4]))
                assert turn.answer == ("yes" if frozenset((room, step(room, said[-1]))) in doors else "no")
            else:
                said = turn.question.split()
                start = maze.start if turn.kind == "exit" else (int(said[4]), int(said[6]))
                reached, edge = {start}, [start]
                while edge:
                    cell = edge.pop()
                    for door in doors:
                        if cell in door and (other := next(iter(door - {cell}))) not in reached:
                            reached.add(other)
                            edge.append(other)
                corners = dict(zip(((1, 1), (GRID, 1), (1, GRID), (GRID, GRID)), maze.exits, strict=True))
                assert [color for corner, color in corners.items() if corner in reached] == [turn.answer]


def test_chart_answers_are_true():
    for lesson in drawn("chart", "test"):
        bars = lesson.picture.bars
        for turn in lesson.turns:
            said = turn.question.rstrip("?").split()
            heights = sorted(b.height for b in bars)
            if turn.kind in ("tallest", "shortest"):
                wanted = heights[-1 if turn.kind == "tallest" else 0]
                right = [b.color for b in bars if b.height == wanted]
            elif turn.kind == "height":
                right = [str(b.height) for b in bars if b.color == said[4]]
            else:
                right = [b.color for b in bars if str(b.column) == said[-1]]
            assert right == [turn.answer]


def test_cells_of_a_lesson_match_the_pixels():
    """A chart's cell that shows a colour has more of it than of any other; other cells show none."""
    for lesson, rng in lessons("chart", count=20):
        pixels = np.asarray(lesson.picture.draw(rng)).astype(float)
        for column in range(1, GRID + 1):
            for row in range(1, GRID):
                patch = pixels[(row - 1) * CELL : row * CELL, (column - 1) * CELL : column * CELL].reshape(-1, 3)
                near = {c: (np.abs(patch - np.array(rgb)).max(axis=1) < 45).mean() for c, rgb in RGB.items()}
                best = max(near, key=near.get)
                shown = lesson.cells.get((column, row), Shown()).color
                assert shown == (best if near[best] > 0.25 else None), (column, row, near)


def test_a_puzzle_shows_the_quarters_of_its_pieces_and_of_what_is_missing():
    """The middle of each quarter, up to its four pixels: an edge may run through them."""
    for lesson in drawn("puzzle", "test")[:100]:
        puzzle = lesson.picture
        canvas = np.full((80, 80, 3), 240, np.float32)
        paint_blobs(canvas, puzzle.blobs)
        holes, fits = ([c for c, shown in lesson.cells.items() if shown.thing == mark] for mark in ("hole", "fits"))
        assert holes == [puzzle.hole]
        ordinal = ("first", "second", "third", "fourth").index(lesson.turns[0].answer)
        assert fits == [((1, 3, 5, 7)[ordinal], 7)]
        assert lesson.cells[holes[0]].quarters == lesson.cells[fits[0]].quarters
        for place, cell in zip(
            (puzzle.hole, *((c, 7) for c in (1, 3, 5, 7))), (puzzle.hole, *puzzle.pieces), strict=True
        ):
            for n, color in enumerate(lesson.cells[place].quarters):
                y, x = (cell[1] - 1) * CELL + 4 + 8 * (n // 2), (cell[0] - 1) * CELL + 4 + 8 * (n % 2)
                rgb = np.array((240,) * 3 if color is None else RGB[color])
                assert np.abs(canvas[y - 1 : y + 2, x - 1 : x + 2] - rgb).max(axis=2).min() < 2


def test_spoken_lessons_name_true_positions_and_write_their_calls():
    kinds = Counter()
    for lesson in drawn("talk", "test"):
        for turn in lesson.turns:
            kinds[turn.kind] += 1
            if turn.kind == "say":
                name, place = turn.answer.rstrip(".").removeprefix("The ").split(" is at ")
                assert [t.place for t in lesson.picture.things if is_called(t, name.split())] == [place]
            else:
                call = json.loads(turn.answer.removeprefix("<tool_call>").removesuffix("</tool_call>"))
                said = set(pieces(turn.question)) | {"1", "2", "3", "4"}
                assert {str(value) for value in call["arguments"].values() if isinstance(value, int)} <= said
                assert call["name"] in TOOLS
    assert min(kinds["say"], kinds["call"]) > 500


def test_a_scene_s_cells_show_its_objects():
    scene = drawn("scene", "test")[0]
    assert scene.cells == {t.cell: Shown(t.color, t.shape) for t in scene.picture.things}


def test_maze_cells_show_where_they_lead_and_which_ways_are_open():
    lesson = drawn("maze", "test")[0]
    assert len(lesson.cells) == GRID * GRID
    start = lesson.cells[lesson.picture.start]
    assert (start.color, start.thing) == (lesson.turns[0].answer, "circle")
    for cell, shown in lesson.cells.items():
        doors = [frozenset((cell, step(cell, move))) in lesson.picture.doors for move in MOVES]
        assert list(shown.ways) == (doors if cell in lesson.picture.onward else [])
