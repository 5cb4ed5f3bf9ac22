"""Chart reading: the tallest, the shortest or one given bar of a bar chart; a highlight points at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from PIL import Image

from jepa_vlm.playground.canvas import CELL, GRID, RGB, SIDE, lit_canvas, to_image
from jepa_vlm.playground.scene import choices, pick
from jepa_vlm.playground.task import Action, Difficulty, Episode, Task
from jepa_vlm.playground.tools import highlight_call
from jepa_vlm.playground.vocabulary import COLORS

HEIGHTS = 7  # levels; a bar is 1 to 7 of them tall
LEVELS = tuple(str(1 + level) for level in range(HEIGHTS))
LEVEL, BASE = 14, 106  # pixels of a level, and the row of the base line


@final
@dataclass(frozen=True)
class Bar:
    """One bar: its colour, the column of the grid that it stands in, and its height in levels."""

    color: str
    column: int
    height: int


@final
@dataclass(frozen=True)
class Chart:
    """Bars of different colours and heights over a base line, with a thin line at every level."""

    bars: tuple[Bar, ...]

    @property
    def key(self) -> str:
        """Which bar stands where, and how tall."""
        return "chart " + ", ".join(sorted(f"{bar.column} {bar.color} {bar.height}" for bar in self.bars))

    def draw(self, rng: np.random.Generator) -> Image.Image:
        """Return the picture; ``rng`` sets its light and the shade of its bars."""
        canvas = lit_canvas(rng)
        for level in range(HEIGHTS + 1):
            canvas[BASE - level * LEVEL, 2 : SIDE - 2] *= 0.85
        for bar in self.bars:
            left, shade = (bar.column - 1) * CELL + 3, rng.normal(0, 7, 3).astype(np.float32)
            canvas[BASE - bar.height * LEVEL : BASE, left : left + CELL - 6] = np.asarray(RGB[bar.color]) + shade
        canvas[BASE : BASE + 2, 2 : SIDE - 2] = RGB["black"]
        return to_image(canvas)


def some_chart(rng: np.random.Generator, difficulty: Difficulty) -> Chart:
    """Return a chart whose bars differ in colour, column and height."""
    count = int(rng.integers(difficulty.bars[0], difficulty.bars[1] + 1))
    colors = [COLORS[at] for at in rng.permutation(len(COLORS))[:count]]
    columns = (1 + rng.permutation(GRID)[:count]).tolist()
    heights = (1 + rng.permutation(HEIGHTS)[:count]).tolist()
    return Chart(tuple(Bar(*parts) for parts in zip(colors, columns, heights, strict=True)))


@final
class ChartReading(Task):
    """ "Which bar is tallest?", "Which bar is shortest?", or "How tall is the red bar?" in levels."""

    name: ClassVar[str] = "chart-reading"

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> Episode:
        """Return one episode with one highlight."""
        chart = some_chart(rng, difficulty)
        bars, colors = chart.bars, [bar.color for bar in chart.bars]
        kind = pick(rng, ("tallest", "shortest", "height"))
        if kind == "height":
            target = bars[0]
            question, named = f"How tall is the {target.color} bar?", f"{target.color} bar"
            options, index = choices(rng, str(target.height), LEVELS)
        else:
            target = (max if kind == "tallest" else min)(bars, key=lambda bar: bar.height)
            question, named = f"Which bar is {kind}?", f"{kind} bar"
            options, index = choices(rng, target.color, colors)
        look = Action(f"The {named} is in column {target.column}.", highlight_call(target.column))
        return Episode(self.name, chart, question, options, index, (look,))
