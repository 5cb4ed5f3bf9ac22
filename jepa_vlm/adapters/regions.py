"""Which visual tokens a box touches."""

from __future__ import annotations

import math

from jepa_vlm.adapters.image_tokens import ImageTokens
from jepa_vlm.errors import BackboneError, DataError
from jepa_vlm.trajectories import Box

ON_THE_LINE = 1e-6  # patches: an edge this near to a line of the grid lies on it, or 0.3 x 10 would reach into a fourth


def region_rows(box: Box, size: tuple[int, int], tokens: ImageTokens) -> list[int]:
    """Return the features of an image that a box touches, as rows of the tower's output, row-major.

    Edges go outwards to whole tokens: columns floor(left * W) to ceil(right * W) - 1 of W, and likewise rows. This is
    LVR's rule for its packed data, which goes outwards to patches first and to tokens then; the outcome is the same.
    Its other data set takes ceil of floats that rounding has lifted over a line; here they lie on it.

    Args:
        box: The region.
        size: Width and height of its image, in pixels, as the box counts them.
        tokens: Of the image; must lie in one grid.

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
