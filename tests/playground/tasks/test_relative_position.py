from __future__ import annotations

import re

from jepa_vlm.playground import episodes


def test_the_answer_follows_from_the_centres_of_the_two_objects_and_the_crop_shows_both():
    seen = set()
    for episode, _ in episodes("relative-position", count=300):
        first, second = re.fullmatch(r"Where is the (.+) from the (.+)\?", episode.question).groups()
        (thing,) = (t for t in episode.picture.things if t.name == first)
        (anchor,) = (t for t in episode.picture.things if t.name == second)
        dx, dy = (16 * (thing.cell[i] - anchor.cell[i]) + thing.offset[i] - anchor.offset[i] for i in (0, 1))
        assert sorted((abs(dx), abs(dy))) == [0, 16]
        expected = {(-16, 0): "left", (16, 0): "right", (0, -16): "above", (0, 16): "below"}[dx, dy]
        assert episode.options[episode.answer] == expected
        box = episode.actions[0].call.box.in_pixels(112, 112)
        for cell in (thing.cell, anchor.cell):
            assert box[0] <= 16 * (cell[0] - 1) < 16 * cell[0] <= box[2]
            assert box[1] <= 16 * (cell[1] - 1) < 16 * cell[1] <= box[3]
        seen.add(expected)
    assert len(seen) == 4
