"""The one-pass engine: each token once, images once, detached views forward only.

Exact: a token's state depends on the tokens before it alone, so a prefix computed once serves every view that starts
with it. ``separate`` is the reference that it is tested against.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor

from jepa_vlm.adapters import Backbone
from jepa_vlm.encoders import attention, vision_attention
from jepa_vlm.encoders.ahead import run_ahead
from jepa_vlm.encoders.batch import Batch
from jepa_vlm.encoders.engine import Engine
from jepa_vlm.encoders.packed_row import encode_images, run_row, run_sequences
from jepa_vlm.encoders.planner import FEEDBACK, GRADIENT, OnePassPlanner
from jepa_vlm.encoders.row_states import RowStates
from jepa_vlm.encoders.stock import call_attention
from jepa_vlm.encoders.target_weights import TargetWeights
from jepa_vlm.errors import BackboneError
from jepa_vlm.views import Request


@final
class OnePass(Engine):
    """Computes each token once, packed: the engine to train with."""

    name = "one_pass"
    shares_passes = True

    def planner(self, encodings: Sequence[Request], *, dropout: bool) -> OnePassPlanner:
        """See ``Engine.planner``."""
        return OnePassPlanner(encodings=encodings, share_detached=not dropout)

    def check(self, backbone: Backbone) -> None:
        """See ``Engine.check``."""
        if backbone.adapter.separate_because:
            raise BackboneError(
                f"{backbone.name!r} needs engine='separate' (--engine separate): {backbone.adapter.separate_because}."
            )

    def prepare(self, backbone: Backbone) -> None:
        """Let the layers call our attention: the decoder's the packed one, the tower's, where it can, the chunked one.

        It stays on after a forward, since checkpointing reads it again going backward, and serves evaluation as well.
        """
        names = {"text_config": attention.NAME}
        if backbone.adapter.chunked_vision:
            names["vision_config"] = vision_attention.NAME
        call_attention(backbone.base, names)

    def run(
        self, backbone: Backbone, weights: TargetWeights, batch: Batch, slot_inputs: Mapping[str, Tensor]
    ) -> dict[str, RowStates]:
        """Encode the images once, then every row: those without gradient first, while no activation is held.

        What was computed ahead of the batch's turn is not computed again.
        """
        features = encode_images(backbone, batch) if batch.ahead is None else batch.ahead.features
        states: dict[str, RowStates] = {}
        for name, row in batch.rows.items():
            if name == GRADIENT:
                states[name] = run_row(backbone, row, features, slot_inputs)
            elif name.startswith(FEEDBACK):
                states[name] = run_sequences(backbone, row, features)
            elif batch.ahead is None:
                with torch.no_grad(), weights.use(name):
                    states[name] = run_row(backbone, row, features, slot_inputs)
        return states

    def run_ahead(
        self, backbone: Backbone, weights: TargetWeights, batches: Sequence[Batch], slot_inputs: Mapping[str, Tensor]
    ) -> list[Batch]:
        """See ``Engine.run_ahead``: rows without gradient run as one row."""
        return run_ahead(backbone, weights, batches, slot_inputs)
