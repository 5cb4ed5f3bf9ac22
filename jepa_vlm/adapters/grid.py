"""Families that cut an image into a grid of patches and count positions along it (M-RoPE)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from einops import rearrange
from PIL import Image
from torch import Tensor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize
from transformers.vision_utils import (
    get_vision_cu_seqlens,
    get_vision_interpolation_indices_and_weights,
    get_vision_position_ids,
)

from jepa_vlm.adapters.adapter import Adapter, ImageInputs
from jepa_vlm.adapters.image_tokens import ImageTokens
from jepa_vlm.errors import DataError
from jepa_vlm.typing import HFModel, Processor, TokenIds, TokenMask


class GridAdapter(Adapter):
    """What Qwen's vision-language models and GLM-4V have in common."""

    chunked_vision = True
    image_inputs = ("pixel_values", "image_grid_thw")
    interpolated = False  # whether the tower resamples a table of position embeddings to each image's grid

    def image_tokens(self, processor: Processor, width: int, height: int, *, together: int = 1) -> ImageTokens:
        """See ``Adapter.image_tokens``."""
        image_processor = processor.image_processor
        try:
            rows, columns = self.resized(image_processor, width, height)
        except ValueError as err:
            message = f"An image of {width} x {height} pixels cannot be read ({err}); crop or pad it."
            raise DataError(message, "image shape") from None
        grid = (1, rows // image_processor.patch_size, columns // image_processor.patch_size)
        length = grid[1] * grid[2] // self.merge**2
        return ImageTokens(self.placeholder(processor), (length,), grid)

    def resized(self, image_processor: Any, width: int, height: int) -> tuple[int, int]:
        """Return the size in pixels, rows then columns, to which the processor resizes an image.

        Raises:
            ValueError: If it refuses the size.
        """
        found: tuple[int, int] = smart_resize(
            height,
            width,
            factor=image_processor.patch_size * image_processor.merge_size,
            min_pixels=image_processor.size["shortest_edge"],
            max_pixels=image_processor.size["longest_edge"],
        )
        return found

    def process_image(self, processor: Processor, image: Image.Image, *, together: int = 1) -> dict[str, Tensor]:
        """See ``Adapter.process_image``."""
        return dict(processor.image_processor(images=[image], return_tensors="pt"))

    def positions(self, image_tokens: TokenMask, images: Sequence[ImageTokens]) -> Tensor:
        """See ``Adapter.positions``."""
        return rotary_positions(image_tokens, images, self.merge)

    def collate_images(self, images: Sequence[Mapping[str, Tensor]]) -> ImageInputs:
        """See ``Adapter.collate_images``; what the tower derives from the grids is made here, off the device."""
        grids = torch.cat([image["image_grid_thw"] for image in images])
        ends = get_vision_cu_seqlens(grids)
        frames = ends.diff().tolist()
        return {
            "pixel_values": torch.cat([image["pixel_values"] for image in images]),
            "image_grid_thw": grids,
            "image_position_ids": get_vision_position_ids(grids, self.merge),
            "image_cu_seqlens": ends,
            "image_max_seqlen": max(frames),
            "image_chunk_lengths": {len(frames): frames},
            **(self._resampling(grids) if self.interpolated else {}),
        }

    def _resampling(self, grids: Tensor) -> dict[str, Tensor]:
        side = int(self.config.vision_config.num_position_embeddings**0.5)
        indices, weights = get_vision_interpolation_indices_and_weights(
            grids, num_grid_per_side=side, mode="bilinear", align_corners=True, spatial_merge_size=self.merge
        )
        return {"image_interp_indices": indices, "image_interp_weights": weights}

    def encode_images(self, base: HFModel, images: ImageInputs) -> Tensor:
        """See ``Adapter.encode_images``. transformers' ``get_image_features`` would read the grids off the device."""
        tower: Any = base.base_model.visual
        made = {key.removeprefix("image_"): value for key, value in images.items()}
        return self.features(tower(made.pop("pixel_values").to(tower.dtype), return_dict=True, **made))

    def features(self, out: Any) -> Tensor:
        """Return the features, row after row, from the tower's output."""
        rows: Tensor = out.pooler_output
        return rows

    def token_types(self, image_tokens: TokenMask, groups: TokenIds | None, has_images: bool) -> dict[str, Tensor]:
        """See ``Adapter.token_types``; the stock model makes positions from them."""
        return {"mm_token_type_ids": image_tokens.int()} if has_images else {}

    def limit_visual_tokens(self, processor: Processor, budget: int) -> None:
        """See ``Adapter.limit_visual_tokens``."""
        image_processor = processor.image_processor
        size = dict(image_processor.size)
        size["longest_edge"] = budget * (image_processor.patch_size * image_processor.merge_size) ** 2
        size["shortest_edge"] = min(size["shortest_edge"], size["longest_edge"])
        image_processor.size = size

    @property
    def merge(self) -> int:
        """Patches on each side of a token."""
        merge: int = self.config.vision_config.spatial_merge_size
        return merge


def rotary_positions(image_tokens: TokenMask, images: Sequence[ImageTokens], merge: int) -> Tensor:
    """Return the positions of M-RoPE, ("axes tokens"): text counts on all three axes, an image spans its grid.

    Args:
        image_tokens: True at features.
        images: Images of the view, in order.
        merge: Patches on each side of a token.

    Source: Qwen2-VL, arXiv 2409.12191, section 2.1.
    """
    pieces: list[Tensor] = []
    at, start, waiting = 0, 0, iter(images)
    flags = image_tokens.tolist()
    while at < len(flags):
        if flags[at]:
            frames, rows, columns = next(waiting).grid
            shape = (frames, rows // merge, columns // merge)
            axes = torch.meshgrid(*(torch.arange(n) for n in shape), indexing="ij")
            pieces.append(rearrange(list(axes), "axes t h w -> axes (t h w)") + start)
            at += shape[0] * shape[1] * shape[2]
            start += max(shape[1:])
        else:
            end = at
            while end < len(flags) and not flags[end]:
                end += 1
            pieces.append(torch.arange(start, start + end - at).expand(3, -1))
            at, start = end, start + end - at
    return torch.cat(pieces, dim=1)
