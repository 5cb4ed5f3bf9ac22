"""A turn's tokens, patches and labels are what the processor and the chat template make of the same conversation."""

from __future__ import annotations

import pytest
import torch

import jepa_vlm as jv
from benchmarks.pretrain_tiny.batches import IGNORED, SHOWN, Encoder, Stream
from benchmarks.pretrain_tiny.curriculum import curriculum
from benchmarks.pretrain_tiny.lessons import TEACHERS, lessons


@pytest.fixture(scope="module")
def backbone():
    return jv.load_backbone("tiny-random-qwen2.5-vl")


@pytest.mark.parametrize("teacher", list(TEACHERS))
def test_a_turn_is_the_conversation_that_the_processor_makes(backbone, teacher):
    encoder = Encoder(backbone.processor)
    batch = encoder.encode(list(lessons(teacher, count=2)), letters=0.4)
    patches = batch.grid**2
    prefix = encoder.prefix(batch.grid)
    again = iter(lessons(teacher, count=2))
    row = 0
    for number in range(2):
        lesson, rng = next(again)
        forms = [form for _, form in batch.kinds[row : row + len(lesson.turns)]]
        for turn in lesson.turns:
            if turn.options:
                rng.random()  # the draw of its form
        picture = lesson.picture.draw(rng)
        for turn, form in zip(lesson.turns, forms, strict=True):
            chat = [
                {
                    "role": "user",
                    "content": [{"type": "image", "image": picture}, {"type": "text", "text": turn.prompt(form)}],
                },
                {"role": "assistant", "content": turn.reply(form)},
            ]
            made = backbone.processor.apply_chat_template(chat, tokenize=True, return_dict=True, return_tensors="pt")
            own = torch.cat([prefix, batch.input_ids[row][batch.input_ids[row] != encoder.pad]])
            newline = backbone.tokenizer.encode("\n")
            assert own.tolist() + newline == made["input_ids"][0].tolist()
            torch.testing.assert_close(
                batch.pixels[number * patches : (number + 1) * patches], made["pixel_values"], rtol=0, atol=1e-6
            )
            answer = batch.labels[row][batch.labels[row] != IGNORED]
            assert backbone.tokenizer.decode(answer) == f"{turn.reply(form)}<|im_end|>"
            assert batch.picture_of[row] == number
            row += 1


def test_encoded_cells_are_indexed_by_row_and_column(backbone):
    lesson, rng = next(lessons("scene", count=1))
    batch = Encoder(backbone.processor).encode([(lesson, rng)], letters=0)
    (column, row), said = next(iter(lesson.cells.items()))
    assert SHOWN[0][batch.shown[0, 0, row - 1, column - 1]] == said.color
    assert SHOWN[1][batch.shown[0, 1, row - 1, column - 1]] == said.thing
    assert (batch.shown[0, 0] != SHOWN[0].index("nothing")).sum() == len(lesson.cells)
    assert (batch.shown[0, 2:] == IGNORED).all()


@pytest.mark.parametrize(("teacher", "field", "first"), [("way", "ways", 2), ("puzzle", "quarters", 6)])
def test_maze_exits_and_puzzle_quarters_are_labelled_for_their_cells(backbone, teacher, field, first):
    lesson, rng = next(lessons(teacher, count=1))
    shown = Encoder(backbone.processor).encode([(lesson, rng)], letters=0).shown[0]
    for column in range(1, 8):
        for row in range(1, 8):
            cell = lesson.cells.get((column, row))
            told = getattr(cell, field) if cell else ()
            slots = shown[first : first + 4, row - 1, column - 1].tolist()
            assert slots == ([SHOWN[first].index(value) for value in told] or [IGNORED] * 4)
    assert (shown[2:6] == IGNORED).all() or (shown[6:] == IGNORED).all()


def test_the_stream_of_lessons_resumes_at_a_given_position(backbone):
    encoder = Encoder(backbone.processor)
    whole = list(Stream(encoder=encoder, seed=1, steps=9))
    rest = list(Stream(encoder=encoder, seed=1, steps=9, start=7))
    for one, other in zip(whole[7:], rest, strict=True):
        assert torch.equal(one.pixels, other.pixels)
        assert torch.equal(one.input_ids, other.input_ids)
    other = next(iter(Stream(encoder=encoder, seed=2, steps=9)))
    assert not torch.equal(whole[0].pixels, other.pixels)
    assert [len(batch.pixels) // batch.grid**2 for batch in whole] == [32, 32, 32, 32, 29, 24, 26, 64, 32]


def test_training_shows_pictures_of_the_training_split_alone(backbone, monkeypatch):
    from benchmarks.pretrain_tiny import batches

    seen = []
    monkeypatch.setattr(batches, "lessons", lambda *args, **kwargs: seen.append(kwargs) or lessons(*args, **kwargs))
    next(iter(Stream(encoder=Encoder(backbone.processor), seed=0, steps=2)))
    assert seen
    assert all(kwargs.get("split", "train") == "train" for kwargs in seen)


def test_few_objects_come_before_many_and_names_before_places_and_relations():
    mixes = [curriculum(step, 1000) for step in range(1000)]
    assert mixes[0].difficulty.objects[1] < mixes[100].difficulty.objects[1]
    first = {name: next(n for n, mix in enumerate(mixes) if name in mix.pictures) for name in ("place", "relation")}
    assert 200 < first["place"] <= first["relation"]
    assert all("talk" not in mix.pictures for mix in mixes[:500])


def test_a_turn_that_is_too_long_is_refused(backbone, monkeypatch):
    monkeypatch.setattr("benchmarks.pretrain_tiny.batches.WIDTH", 8)
    with pytest.raises(ValueError, match=r"A turn takes \d+ tokens, more than 8"):
        Encoder(backbone.processor).encode(list(lessons("scene", count=1)), letters=1.0)


def test_letters_rise_within_a_stage_and_puzzles_alone_keep_to_their_own_share():
    rising = [curriculum(step, 1000).letters for step in range(56, 232) if step % 8 != 7]
    assert rising == sorted(rising)
    assert rising[0] < 0.31
    assert rising[-1] > 0.49
    mixes = {step: curriculum(step, 1000) for step in range(470, 590)}
    assert {mix.letters for mix in mixes.values() if set(mix.pictures) == {"puzzle"}} == {0.3}
    assert {mix.letters for mix in mixes.values() if "relation" in mix.pictures} == {0.6}


@pytest.mark.parametrize("teacher", ["scene", "maze", "puzzle", "closeup"])
def test_every_listed_option_is_told_its_letter_where_it_ends(backbone, teacher):
    batch = Encoder(backbone.processor).encode(list(lessons(teacher, count=4)), letters=0.7, listed=0.7)
    tokenizer = backbone.tokenizer
    listed = 0
    for row, (_, form) in enumerate(batch.kinds):
        told = batch.letter_of[row] != IGNORED
        if form == "word":
            assert not told.any()
            continue
        listed += 1
        letters = tokenizer.decode(batch.letter_of[row][told])
        assert letters in ("ABCD", "AB")
        text = tokenizer.decode(batch.input_ids[row])
        for letter, option in zip(letters, batch.input_ids[row][told].tolist(), strict=True):
            assert f"{letter} {tokenizer.decode([option]).strip()}" in text
    assert listed
