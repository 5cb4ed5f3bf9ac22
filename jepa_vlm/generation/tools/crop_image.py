"""``crop_image``: the tool of PixelReasoner's supervised data, whose boxes are in pixels."""

from __future__ import annotations

from jepa_vlm.generation.tools.cropping import DESCRIPTION, padded_crop
from jepa_vlm.generation.tools.tool import IN_PIXELS, on_a_box

CROP_IMAGE = on_a_box("crop_image", DESCRIPTION, padded_crop, units=IN_PIXELS, verb="crop", aim="zoom in")
