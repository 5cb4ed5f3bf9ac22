"""The tokens that stand for an image, and those of them that a box touches."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import final

from jepa_vlm.errors import BackboneError, DataError
from jepa_vlm.trajectories import Box

# Patches. An edge this near to a line of the grid lies on it; otherwise 0.3 x 10 would reach into a fourth column.
ON_THE_LINE = 1e-6


@final
@dataclass(frozen=True)
class ImageTokens:
    """The text that a processor writes in an image's place.

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
        """Number of feature tokens: rows of the vision tower's output."""
        return sum(self.runs)

    @classmethod
    def of(cls, written: str, feature: str, *, grid: tuple[int, ...] = ()) -> ImageTokens:
        """Shorten what a processor wrote.

        Args:
            written: The whole replacement of an image's placeholder.
            feature: The token whose embedding a feature replaces.
            grid: See the class.
        """
        runs = re.compile(f"(?:{re.escape(feature)})+")
        lengths = tuple(len(run.group()) // len(feature) for run in runs.finditer(written))
        return cls(runs.sub(lambda _: feature, written), lengths, grid)


def region_rows(box: Box, size: tuple[int, int], tokens: ImageTokens) -> list[int]:
    """Return the features of an image that a box touches, as rows of the tower's output, row-major.

    Edges go outwards to whole tokens: columns floor(left * W) to ceil(right * W) - 1 of W, and likewise rows. This is
    LVR's rule for its packed data, which goes outwards to patches first and to tokens then; the result is the same.
    Its other data set takes ceil of floats that rounding has lifted over a line; here they lie on it.

    Args:
        box: The region.
        size: Width and height of its image, in the pixels in which the box is given.
        tokens: Tokens of the image; they must lie in one grid.

    Raises:
        BackboneError: If the family does not lay an image's tokens out as its pixels lie.
        DataError: If the box reaches beyond the image.

    Source: VincentLeebang/lvr@637a9f7, src/dataset/lvr_sft_dataset_packed.py.
    """
    if not tokens.grid:
        raise BackboneError(
            "Regions need a family whose visual tokens lie in one grid, as its pixels do (Qwen's and GLM's do); this "
            "one has tiles or pooled tokens. Reconstruct whole pictures instead: recipe mirage."
        )
    _, rows, columns = tokens.grid
    merge = math.isqrt(rows * columns // tokens.length)
    width, height = (1.0, 1.0) if box.relative else (float(size[0]), float(size[1]))
    if box.right > width * (1 + ON_THE_LINE) or box.bottom > height * (1 + ON_THE_LINE):
        raise DataError(f"{box} reaches beyond its image of {size[0]} x {size[1]} pixels.", "box")
    across = _covered(box.left / width, box.right / width, columns // merge)
    down = _covered(box.top / height, box.bottom / height, rows // merge)
    return [row * (columns // merge) + column for row in down for column in across]


def _covered(low: float, high: float, count: int) -> range:
    first = min(math.floor(low * count + ON_THE_LINE), count - 1)
    return range(first, max(first + 1, min(math.ceil(high * count - ON_THE_LINE), count)))
