"""Latent tokens of a row: where they are, what they stand for, and what the decoder is fed there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from jepa_vlm.encoders.batch import LatentTokens
from jepa_vlm.typing import Hidden, SlotInputs, shape_checked
from jepa_vlm.views import TokenizedView


@final
@dataclass(frozen=True)
class Stretch:
    """Tokens of a latent view that a row computes.

    Args:
        view: The view.
        part: Which of its tokens.
        start: Their place in the row.
        image_starts: For each image the first row of its features.
        fed: Whether its slots are fed what they stand for.
    """

    view: TokenizedView
    part: slice
    start: int
    image_starts: Tensor
    fed: bool


def latent_tokens(stretches: Sequence[Stretch]) -> LatentTokens:
    """Return the latent tokens of a row that stand for something, in the order of their places."""
    empty = torch.zeros(0, dtype=torch.long)
    found: dict[str, list[Tensor]] = {"at": [empty], "rows": [empty], "slot": [empty], "fed": [empty]}
    count = 0
    for own in sorted(stretches, key=lambda stretch: stretch.start):
        here = own.view.slots[own.part].nonzero()[:, 0]
        if own.view.slot_sources is None or not len(own.view.slot_sources):
            continue
        before = int(own.view.slots[: own.part.start].sum())
        number, image, row = own.view.slot_sources.unbind(1)
        inside = (number >= before) & (number < before + len(here))
        found["at"].append(here + own.start)
        found["rows"].append(own.image_starts[image[inside]] + row[inside])
        found["slot"].append(number[inside] - before + count)
        found["fed"].append(torch.arange(count, count + len(here)) if own.fed else empty)
        count += len(here)
    return LatentTokens(**{name: torch.cat(parts) for name, parts in found.items()})


@shape_checked
def slot_targets(features: Hidden, rows: Tensor, slot: Tensor, slots: int) -> SlotInputs:
    """Return what slots stand for: the mean of their features, summed in at least float32, in the features' type.

    Args:
        features: Of all images.
        rows: Rows of them, one after another.
        slot: For each row the slot that it belongs to, ascending.
        slots: How many there are; each has a row.
    """
    wide = torch.promote_types(features.dtype, torch.float32)
    sums = features.new_zeros(slots, features.shape[1], dtype=wide).index_add(0, slot, features[rows].to(wide))
    sizes = features.new_zeros(slots, dtype=wide).index_add(0, slot, torch.ones_like(slot, dtype=wide))
    return (sums / sizes[:, None]).to(features.dtype)
