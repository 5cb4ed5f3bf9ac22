"""``crop_image_normalized``: the tool of PixelReasoner's released checkpoint, whose boxes are fractions."""

from __future__ import annotations

from jepa_vlm.generation.tools.cropping import DESCRIPTION, padded_crop
from jepa_vlm.generation.tools.tool import IN_FRACTIONS, on_a_box

CROP_IMAGE_NORMALIZED = on_a_box(
    "crop_image_normalized", DESCRIPTION, padded_crop, units=IN_FRACTIONS, verb="crop", aim="zoom in"
)
