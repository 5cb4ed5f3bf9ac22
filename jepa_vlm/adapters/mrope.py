"""Rotary positions along frames, rows and columns."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor

from jepa_vlm.adapters.image_tokens import ImageTokens
from jepa_vlm.typing import TokenMask


def rotary_positions(image_tokens: TokenMask, images: Sequence[ImageTokens], merge: int) -> Tensor:
    """M-RoPE (Qwen2-VL, arXiv 2409.12191, section 2.1): text counts on all axes, an image spans its grid.

    Args:
        image_tokens: True at features.
        images: Of the view, in order.
        merge: Patches on each side of a token.
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
