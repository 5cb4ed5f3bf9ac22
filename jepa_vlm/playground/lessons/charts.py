"""Chart lessons: which bar is tallest or shortest, how tall one is, and which colour stands where."""

from __future__ import annotations

from typing import final

import numpy as np

from jepa_vlm.playground.difficulty import Difficulty
from jepa_vlm.playground.lessons.lesson import Lesson, Shown, Teacher, turn
from jepa_vlm.playground.tasks.chart_reading import LEVELS, some_chart
from jepa_vlm.playground.vocabulary import COLORS


@final
class ChartTeacher(Teacher):
    """Six questions on one chart: both extremes, and two bars by colour and by column."""

    name = "chart"
    turns_per_lesson = 6

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> Lesson:
        """Return one lesson."""
        chart = some_chart(rng, difficulty)
        bars = [chart.bars[at] for at in rng.permutation(len(chart.bars))]
        colors = [bar.color for bar in bars]
        ranked = sorted(bars, key=lambda bar: bar.height)
        turns = [
            turn(rng, "tallest", "Which bar is tallest?", ranked[-1].color, colors),
            turn(rng, "shortest", "Which bar is shortest?", ranked[0].color, colors),
        ]
        for bar in bars[:2]:
            turns.append(turn(rng, "height", f"How tall is the {bar.color} bar?", str(bar.height), LEVELS))
            turns.append(turn(rng, "bar-at", f"What color is the bar in column {bar.column}?", bar.color, COLORS))
        return Lesson(chart, tuple(turns), {cell: Shown(*words) for cell, words in chart.cells.items()})
