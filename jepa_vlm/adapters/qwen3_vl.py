"""Qwen3-VL, dense and with experts: features of several depths of the vision tower enter the decoder's first layers."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor

from jepa_vlm.adapters.grid import GridAdapter
from jepa_vlm.typing import Hidden


@final
class Qwen3VLAdapter(GridAdapter):
    """The families of ``Qwen3VLForConditionalGeneration`` and ``Qwen3VLMoeForConditionalGeneration``.

    Features hold the levels of DeepStack (arXiv 2406.04334) in further columns. The experts of the second are no linear
    layers, so LoRA leaves them out.
    """

    video_processor = "Qwen3VLVideoProcessor"
    interpolated = True

    def features(self, out: Any) -> Tensor:
        """See ``GridAdapter.features``."""
        return torch.cat([out.pooler_output, *out.deepstack_features], dim=-1)

    def decoder_inputs(self, inputs: Hidden, image_at: Tensor, deeper: Tensor) -> dict[str, Any]:
        """See ``Adapter.decoder_inputs``."""
        if not len(image_at):
            return {}
        shown = torch.zeros(len(inputs), dtype=torch.bool, device=inputs.device)
        shown[image_at] = True  # rows are in the order of the tokens, as the decoder expects
        return {"visual_pos_masks": shown[None], "deepstack_visual_embeds": deeper.split(inputs.shape[1], dim=1)}
