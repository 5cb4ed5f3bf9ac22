"""Greedy generation through the backbone's own processor, chat template and ``generate``.

A checkpoint's own sampling settings play no part in it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, final

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import LogitsProcessor, LogitsProcessorList

from jepa_vlm.adapters import Backbone
from jepa_vlm.adapters.chat import Turn, chat_text, turn_opening
from jepa_vlm.trajectories import LazyImage

Inputs = Mapping[str, Tensor]


class Askable(Protocol):
    """Anything with an id, images and a prompt, such as a ``MultipleChoice``."""

    @property
    def id(self) -> str:
        """Unique in its set."""

    @property
    def images(self) -> tuple[LazyImage, ...]:
        """The input images, in order."""

    @property
    def prompt(self) -> str:
        """The question as it is written."""


@final
@dataclass(frozen=True)
class OpenQuestion:
    """A question without options.

    Args:
        id: Unique in its set.
        images: The input images, in order.
        prompt: The question as it is written.
    """

    id: str
    images: tuple[LazyImage, ...]
    prompt: str


@contextmanager
def inference(model: nn.Module) -> Iterator[None]:
    """Put every module into eval mode without autograd, and restore each module's own mode afterwards."""
    # A plain ``model.train()`` at the end would also switch on the dropout of parts that had been kept in eval mode.
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module in training:
            module.training = True


def user_turn(text: str, images: Sequence[Image.Image]) -> Turn:
    """Return one user turn, images before the text."""
    shown = [{"type": "image", "image": image} for image in images]
    return {"role": "user", "content": [*shown, {"type": "text", "text": text}]}


def system_turn(text: str) -> Turn:
    """Return a system turn."""
    return {"role": "system", "content": [{"type": "text", "text": text}]}


def question_turn(item: Askable) -> Turn:
    """Return the user turn that asks a question."""
    return user_turn(item.prompt, [image.load() for image in item.images])


def prompt_text(backbone: Backbone, turns: Sequence[Turn], *, prefix: str = "") -> str:
    """Return a conversation as the chat template writes it, the generation prompt and ``prefix`` behind it.

    Whitespace that the template writes ahead of an answer comes ahead of the prefix.
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
    base = backbone.base  # its type is that of its float weights; in 4 bits, the first weight has none of these types
    read = set(inspect.signature(base.forward).parameters) - {"labels"}  # processors return other keys too
    return {
        name: value.to(base.device, base.dtype if value.is_floating_point() else None)
        for name, value in inputs.items()
        if name in read
    }


def generate(
    backbone: Backbone,
    inputs: Inputs,
    tokens: int,
    allowed: Callable[[int, Tensor], list[int]] | None = None,
    *,
    processors: Sequence[LogitsProcessor] = (),
) -> Tensor:
    """Return the tokens that follow each prompt, at most ``tokens``, padded on the right, (rows, tokens).

    Args:
        backbone: Its model, inside ``inference``.
        inputs: Left-padded prompts.
        tokens: Most new tokens.
        allowed: Function from a row and its tokens so far to the tokens that may follow; None for all.
        processors: Further logits processors.
    """
    produced: Tensor = backbone.model.generate(  # type: ignore[operator]
        **inputs,
        max_new_tokens=tokens,
        min_new_tokens=0,
        do_sample=False,
        num_beams=1,
        temperature=1.0,
        top_k=50,
        top_p=1.0,
        use_cache=True,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        pad_token_id=pad_id(backbone),
        eos_token_id=end_ids(backbone),
        prefix_allowed_tokens_fn=allowed,
        logits_processor=LogitsProcessorList(processors),
    )
    return produced[:, inputs["input_ids"].shape[1] :]


def end_ids(backbone: Backbone) -> list[int]:
    """Return the tokens that end an answer, the tokenizer's own first."""
    own = backbone.model.generation_config.eos_token_id
    more = own if isinstance(own, list) else [own]
    return list(dict.fromkeys(int(i) for i in (backbone.tokenizer.eos_token_id, *more) if i is not None))


def pad_id(backbone: Backbone) -> int:
    """Return the padding token, or the first end token where there is none."""
    pad = backbone.tokenizer.pad_token_id
    return int(end_ids(backbone)[0] if pad is None else pad)
