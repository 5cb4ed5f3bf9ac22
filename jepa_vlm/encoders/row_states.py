"""What an engine computed of a row, before states are read by request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from jepa_vlm.typing import Hidden


@final
@dataclass(frozen=True)
class RowStates:
    """Tokens of one computed row.

    Args:
        hidden: ``last_hidden_state`` after the final norm.
        inputs: What the decoder was fed.
        targets: What its latent slots stand for, ("slots dim"), in the order of the slots; None without any.
        slot_at: The token of each slot, ascending.
    """

    hidden: Hidden
    inputs: Hidden
    targets: Hidden | None = None
    slot_at: Tensor | None = None

    def targets_at(self, places: Tensor) -> Hidden:
        """Return what the latent slots at these places stand for; of no places, nothing."""
        if self.targets is None or self.slot_at is None:
            return self.inputs[:0]
        return self.targets[torch.searchsorted(self.slot_at, places)]

    def at(self, places: Tensor) -> RowStates:
        """Return the tokens at these places, in this order."""
        return RowStates(self.hidden[places], self.inputs[places])
