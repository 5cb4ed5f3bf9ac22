"""Qwen2.5-VL: M-RoPE over frames, rows and columns; a window-attention vision tower."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from einops import rearrange
from torch import Tensor, nn
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize
from transformers.vision_utils import get_vision_cu_seqlens, get_vision_position_ids, get_vision_window_index

from jepa_vlm.adapters.adapter import ADAPTERS, Adapter, Grid
from jepa_vlm.errors import DataError
from jepa_vlm.typing import Hidden, TokenMask


@ADAPTERS.register("qwen2_5_vl")
@final
class Qwen25VLAdapter(Adapter):
    """The family of ``Qwen2_5_VLForConditionalGeneration``."""

    image_token = "<|image_pad|>"
    video_processor = "Qwen2VLVideoProcessor"
    chunked_vision = True

    def grid(self, image_processor: Any, width: int, height: int) -> Grid:
        """See ``Adapter.grid``."""
        patch, merge, size = image_processor.patch_size, image_processor.merge_size, image_processor.size
        try:
            rows, columns = smart_resize(
                height, width, factor=patch * merge, min_pixels=size["shortest_edge"], max_pixels=size["longest_edge"]
            )
        except ValueError as err:
            raise DataError(f"An image of {width} x {height} pixels cannot be read ({err}); crop or pad it.") from None
        return 1, rows // patch, columns // patch

    def image_length(self, grid: Grid) -> int:
        """See ``Adapter.image_length``."""
        frames, rows, columns = grid
        return frames * rows * columns // self._merge**2

    def positions(self, image_tokens: TokenMask, grids: Sequence[Grid]) -> Tensor:
        """M-RoPE (Qwen2-VL, arXiv 2409.12191, section 2.1): text counts on all axes, an image spans its grid."""
        pieces: list[Tensor] = []
        at, start, waiting = 0, 0, iter(grids)
        flags = image_tokens.tolist()
        while at < len(flags):
            if flags[at]:
                frames, rows, columns = next(waiting)
                shape = (frames, rows // self._merge, columns // self._merge)
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

    def collate_images(self, images: Sequence[Mapping[str, Tensor]]) -> dict[str, Any]:
        """See ``Adapter.collate_images``; all that the tower derives from the grids is made here, off the device."""
        vision = self.config.vision_config
        grids = torch.cat([image["image_grid_thw"] for image in images])
        window, window_ends = get_vision_window_index(
            grids, vision.spatial_merge_size, vision.window_size, vision.patch_size
        )
        frame_ends = get_vision_cu_seqlens(grids)
        frames, windows = frame_ends.diff().tolist(), window_ends.diff().tolist()
        return {
            "pixel_values": torch.cat([image["pixel_values"] for image in images]),
            "image_grid_thw": grids,
            "image_position_ids": get_vision_position_ids(grids, vision.spatial_merge_size),
            "image_window_index": window,
            "image_cu_window_seqlens": window_ends,
            "image_cu_seqlens": frame_ends,
            "image_max_window_seqlen": max(windows),
            "image_max_seqlen": max(frames),
            "image_chunk_lengths": {len(lengths): lengths for lengths in (frames, windows)},
        }

    def encode_images(self, base: Any, images: Mapping[str, Any]) -> Hidden:
        """See ``Adapter.encode_images``. transformers' ``get_image_features`` would read the grids off the device."""
        tower: Any = self.vision(base)
        made = {key.removeprefix("image_"): value for key, value in images.items()}
        features: Tensor = tower(made.pop("pixel_values").to(tower.dtype), **made).pooler_output
        return features

    def decode(self, base: Any, inputs: Hidden, positions: Tensor, attention: Mapping[str, Any]) -> Hidden:
        """See ``Adapter.decode``. A dictionary of masks is taken as it is: transformers builds none."""
        out = self.decoder(base)(
            inputs_embeds=inputs[None],
            position_ids=positions[:, None],
            attention_mask={"full_attention": None},
            use_cache=False,
            **attention,
        )
        states: Tensor = out.last_hidden_state[0]
        return states

    def reference(
        self,
        base: Any,
        input_ids: Tensor,
        embeddings: Tensor,
        image_tokens: TokenMask,
        images: Mapping[str, Any] | None,
    ) -> Hidden:
        """See ``Adapter.reference``. Identifiers place the images, embeddings are what is fed."""
        pixels = {} if images is None else {k: images[k] for k in ("pixel_values", "image_grid_thw")}
        out = base.model(
            input_ids=input_ids[None],
            inputs_embeds=embeddings[None],
            mm_token_type_ids=image_tokens.int()[None] if images is not None else None,
            use_cache=False,
            **pixels,
        )
        states: Tensor = out.last_hidden_state[0]
        return states

    def vision(self, base: Any) -> nn.Module:
        """See ``Adapter.vision``."""
        tower: nn.Module = base.model.visual
        return tower

    @property
    def _merge(self) -> int:
        merge: int = self.config.vision_config.spatial_merge_size
        return merge
