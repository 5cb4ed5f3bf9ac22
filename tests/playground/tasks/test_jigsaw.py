from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from jepa_vlm.playground import episodes
from jepa_vlm.playground.tools import use


def pixels(image):
    return np.asarray(image, float)


def test_the_right_piece_alone_completes_the_picture():
    for episode, _ in episodes("jigsaw", count=60):
        puzzle, call = episode.picture, episode.actions[0].call
        assert len(set(puzzle.pieces)) == 4
        drawn = puzzle.draw(np.random.default_rng(0))
        column, row = puzzle.hole
        other = (1, 1) if puzzle.hole != (1, 1) else (2, 1)
        whole = replace(puzzle, hole=other).draw(np.random.default_rng(0))  # the hole elsewhere: this cell is seen
        seen = pixels(whole)[(row - 1) * 16 : row * 16, (column - 1) * 16 : column * 16]
        for piece in (1, 2, 3, 4):
            made = use(replace(call, arguments=dict(call.arguments) | {"piece": piece}), drawn)
            put_in = pixels(made)[(row - 1) * 16 : row * 16, (column - 1) * 16 : column * 16]
            if piece == call.arguments["piece"]:
                assert (put_in == seen).all()
            else:
                assert np.abs(put_in - seen).mean() > 15


def test_the_answer_names_the_piece_that_is_put_in():
    ordinals = ("first", "second", "third", "fourth")
    for episode, _ in episodes("jigsaw", count=60):
        said = re.fullmatch(r"The (\w+) piece is put in\.", episode.actions[0].text)[1]
        assert episode.options[episode.answer] == said == ordinals[episode.actions[0].call.arguments["piece"] - 1]
