"""inference.json: how an exported model answers, where its base's own ``generate`` is not all that there is to say.

It is not enough for a model that thinks in latents or calls tools; and one with an opening writes that first, so that
its answers are read from what it wrote. Any other folder has no such file: it is the base's files and nothing else.
A model whose latent steps pass through a head has its weights beside it, in latent_head.safetensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from jepa_vlm.adapters import Backbone, load_backbone
from jepa_vlm.errors import ExportError, UnknownNameError
from jepa_vlm.predictors.saved import Head, build_head
from jepa_vlm.recipe import LatentDecoding, Opening
from jepa_vlm.recipe.recipe import PLAIN
from jepa_vlm.whole_files import write_tensors

INFERENCE, LATENT_HEAD = "inference.json", "latent_head.safetensors"


class Inference(NamedTuple):
    """How a model answers: a name of ``jepa_vlm.generation.answering``, and how it thinks in latents or what it writes
    first, if it does.
    """

    name: str = PLAIN
    decoding: LatentDecoding | None = None
    opening: Opening | None = None


def write_inference(folder: Path, inference: Inference, head: nn.Module | None = None) -> None:
    """Write the file, for any way but the plain one without an opening.

    Args:
        folder: Of the exported model.
        inference: How it answers.
        head: That latent steps pass through; its weights are written too.
    """
    more = {"decoding": inference.decoding, "opening": inference.opening}
    said = {name: asdict(value) for name, value in more.items() if value is not None}
    if inference.name != PLAIN or said:
        text = json.dumps({"inference": inference.name, **said})
        (folder / INFERENCE).write_text(text + "\n", encoding="utf-8")
    if head is not None:
        write_tensors(folder / LATENT_HEAD, head.state_dict(), {"format": "pt"})


def read_inference(folder: Path) -> Inference:
    """Return how the model of a folder answers.

    Raises:
        ExportError: If the file is there and does not say.
    """
    path = folder / INFERENCE
    if not path.is_file():
        return Inference()
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        name, decoding = held["inference"], held.get("decoding")
        latents = None if decoding is None else LatentDecoding(**decoding)
        found = Inference(name, latents, read_opening(held.get("opening")))
    except (ValueError, KeyError, TypeError, AttributeError):
        name, found = None, Inference()
    if not isinstance(name, str):
        raise ExportError(f'{path} must be {{"inference": NAME}}; export the run again.')
    return found


def load_exported(name: str, **loading: Any) -> Backbone:
    """Return a backbone, with the head of its latent steps if it is an exported folder with one.

    Args:
        name: As for ``load_backbone``.
        **loading: Further arguments of ``load_backbone``.

    Raises:
        ExportError: If the folder names a head whose weights are missing or do not fit.
        JepaVLMError: As ``load_backbone`` does.
    """
    backbone, folder = load_backbone(name, **loading), Path(name)
    decoding = read_inference(folder).decoding
    if decoding is not None and decoding.head is not None:
        try:
            held = load_file(folder / LATENT_HEAD)
            backbone.latent_head = head_with_weights(backbone, decoding.head, held)
        except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError, UnknownNameError) as err:
            raise ExportError(
                f"{folder / LATENT_HEAD} must hold the weights of {decoding.head}, which {INFERENCE} names: {err}. "
                "Export the run again."
            ) from None
    return backbone


def head_with_weights(backbone: Backbone, described: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Head:
    """Return a head of a backbone's size, of the same type as in training.

    Raises:
        JepaVLMError, ValueError, KeyError, TypeError, RuntimeError: If description, weights and size do not fit.
    """
    head = build_head(described)
    head.setup(backbone.dim, torch.Generator())
    head.load_state_dict(dict(tensors))
    return head.to(torch.promote_types(backbone.base.dtype, torch.float32))


def read_opening(held: dict[str, Any] | None) -> Opening | None:
    """Return an opening of its JSON values, as ``asdict`` makes them."""
    return None if held is None else Opening(text=held["text"], tokens=tuple(held["tokens"]))
