"""PaliGemma: the prompt, images and question, sees itself both ways; what follows is causal."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from jepa_vlm.adapters.adapter import Adapter
from jepa_vlm.typing import TokenIds, TokenMask


@final
class PaliGemmaAdapter(Adapter):
    """The family of ``PaliGemmaForConditionalGeneration``.

    Its processor has no chat template. This one writes what the processor itself makes of one image and one prompt, and
    writes further turns, which the model was not trained on, in the same way.
    """

    first_position = 1
    template = """\
{%- for message in messages -%}
{%- for part in message.content -%}{%- if part.type == 'image' -%}{{ '<image>' }}{%- endif -%}{%- endfor -%}
{%- if message.role == 'user' -%}{{ '<bos>' }}{%- endif -%}
{%- for part in message.content -%}{%- if part.type == 'text' -%}{{ part.text }}{%- endif -%}{%- endfor -%}
{{- '\\n' if message.role == 'user' else '<eos>' -}}
{%- endfor -%}
"""

    def bidirectional_groups(self, image_tokens: TokenMask, prompt: TokenMask) -> TokenIds | None:
        """See ``Adapter.bidirectional_groups``: the prompt is one group, soft tokens left out."""
        return torch.where(prompt, 0, -1)

    def token_types(self, image_tokens: TokenMask, groups: TokenIds | None, has_images: bool) -> dict[str, Tensor]:
        """See ``Adapter.token_types``: 0 for the prompt, 1 for what follows."""
        return {} if groups is None else {"token_type_ids": (groups < 0).int()}
