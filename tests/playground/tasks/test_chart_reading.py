from __future__ import annotations

import numpy as np

from jepa_vlm.playground import episodes
from jepa_vlm.playground.canvas import RGB


def test_answers_follow_from_the_bars():
    kinds = set()
    for episode, _ in episodes("chart-reading", count=200):
        bars, words = episode.picture.bars, episode.question.rstrip("?").split()
        if words[0] == "How":
            (target,) = (bar for bar in bars if bar.color == words[-2])
            expected = str(target.height)
        else:
            ranked = sorted(bars, key=lambda bar: bar.height)
            target = ranked[-1] if words[-1] == "tallest" else ranked[0]
            expected = target.color
            assert set(episode.options) <= {bar.color for bar in bars}
        assert episode.options[episode.answer] == expected
        assert episode.actions[0].call.arguments == {"column": target.column}
        kinds.add((words[0], words[-1] if words[0] == "Which" else ""))
    assert len(kinds) == 3


def test_bars_are_drawn_as_tall_as_they_are_said_to_be():
    (episode, rng), *_ = episodes("chart-reading", count=1)
    pixels = np.asarray(episode.picture.draw(rng), float)
    for bar in episode.picture.bars:
        strip = pixels[:106, bar.column * 16 - 8]  # above the base line
        assert (np.abs(strip - RGB[bar.color]).max(1) < 40).sum() == 14 * bar.height
