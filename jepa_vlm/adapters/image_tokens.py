"""The tokens that stand for an image."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True)
class ImageTokens:
    """What a processor writes in an image's place.

    Args:
        text: With each run of feature tokens shortened to one, so that a tokenizer need not read thousands of them.
        runs: Feature tokens in each run, in order.
        grid: Frames, rows and columns of vision patches, where positions follow them; else empty.
    """

    text: str
    runs: tuple[int, ...]
    grid: tuple[int, ...] = ()

    @property
    def length(self) -> int:
        """Feature tokens in all: rows of the vision tower's output."""
        return sum(self.runs)

    @classmethod
    def of(cls, written: str, feature: str, *, grid: tuple[int, ...] = ()) -> ImageTokens:
        """Shorten what a processor wrote.

        Args:
            written: The whole replacement of an image's placeholder.
            feature: The token that a feature takes the place of.
            grid: See the class.
        """
        runs = re.compile(f"(?:{re.escape(feature)})+")
        lengths = tuple(len(run.group()) // len(feature) for run in runs.finditer(written))
        return cls(runs.sub(lambda _: feature, written), lengths, grid)
