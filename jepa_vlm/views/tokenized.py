"""The tokens of one view, with every mark that losses, planners and viewers need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

IGNORED = -100


@final
@dataclass(frozen=True)
class TokenizedView:
    """One view of one trajectory as tokens.

    Args:
        input_ids: Token identifiers, (tokens,). At slots that are not fed a token's embedding the padding token stands
            in.
        labels: The token where it is trained, -100 elsewhere; at its own position, not shifted.
        text: The rendered text, one placeholder per image, slots not shown.
        images: Which of ``trajectory.all_images`` the view shows, in order.
        slots: True at [PRED] slots, or at the latent slots of a ``LatentConversation``.
        image_tokens: True at image positions.
        content: True at tokens of the parts themselves (texts and images), False at the template's own.
        trajectory: True at T's tokens.
        image_rows: At image positions: which row of the image's features; -1 elsewhere.
        image_index: At image positions: which image (as in ``images``); -1 elsewhere.
        positions: Rotary positions, (axes, tokens).
        readouts: Position of ``last_token``, ``turn_end`` and, with slots, ``last_pred``.
        slot_sources: Of a ``LatentConversation``: what its slots stand for, ("features 3"): the number of the slot in
            the view, an image (as in ``images``, but it need not be shown), a row of its features; else None.
        blocks: Tokens of the same number see each other both ways, -1 is causal, (tokens,); None where all is causal.
        marks: By region that the view itself offers (``View.regions``): True at its tokens, (tokens,).
    """

    input_ids: Tensor
    labels: Tensor
    text: str
    images: tuple[int, ...]
    slots: Tensor
    image_tokens: Tensor
    content: Tensor
    trajectory: Tensor
    image_rows: Tensor
    image_index: Tensor
    positions: Tensor
    readouts: Mapping[str, int]
    slot_sources: Tensor | None = None
    blocks: Tensor | None = None
    marks: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def needed_images(self) -> tuple[int, ...]:
        """Those that are shown, then those that only slots stand for."""
        sources = () if self.slot_sources is None else self.slot_sources[:, 1].tolist()
        return tuple(dict.fromkeys((*self.images, *sources)))

    def __len__(self) -> int:
        return len(self.input_ids)

    def identity(self) -> Tensor:
        """Return one number per token; two views whose numbers agree up to a position share its computation.

        Text counts by its identifier, an image token by image and row. Slots are -1: they are never shared.
        """
        images = (self.image_index + 1) * 2**40 + self.image_rows
        return torch.where(self.slots, -1, torch.where(self.image_tokens, images, self.input_ids))
