"""From conversations to a model's inputs, through the backbone's own processor and chat template."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image
from torch import Tensor

from jepa_vlm.adapters import Backbone
from jepa_vlm.adapters.chat import Turn, chat_text, turn_opening

Inputs = Mapping[str, Tensor]


def user_turn(text: str, images: Sequence[Image.Image]) -> Turn:
    """Return one user turn, images before the text."""
    shown = [{"type": "image", "image": image} for image in images]
    return {"role": "user", "content": [*shown, {"type": "text", "text": text}]}


def prompt_text(backbone: Backbone, turns: Sequence[Turn], *, prefix: str = "") -> str:
    """Return a conversation as the chat template writes it, the generation prompt and ``prefix`` behind it.

    The blanks that the template writes ahead of an answer come ahead of the prefix.
    """
    blanks = turn_opening(backbone.processor).blanks if prefix else ""
    return chat_text(backbone.processor, turns, prompt=True) + blanks + prefix


def prompt_inputs(backbone: Backbone, conversations: Sequence[Sequence[Turn]], *, prefix: str = "") -> Inputs:
    """Return the model's inputs for a batch of conversations, left-padded, on the model's device and in its type."""
    texts = [prompt_text(backbone, turns, prefix=prefix) for turns in conversations]
    images = [
        [part["image"] for turn in turns for part in turn["content"] if part["type"] == "image"]
        for turns in conversations
    ]
    options: dict[str, Any] = {"padding": True, "padding_side": "left", "return_tensors": "pt"}
    if (bos := backbone.tokenizer.bos_token) and texts[0].startswith(bos):
        options["add_special_tokens"] = False  # the template wrote it
    inputs = backbone.processor(text=texts, images=images if any(images) else None, **options)
    base = backbone.base  # its type is that of its float weights; in 4 bits, the first weight's is none of theirs
    read = set(inspect.signature(base.forward).parameters) - {"labels"}  # processors return other keys too
    return {
        name: value.to(base.device, base.dtype if value.is_floating_point() else None)
        for name, value in inputs.items()
        if name in read
    }
