"""inference.json: how an exported model answers, where that is not the base's own ``generate``.

A folder of a model that answers by plain generation without a response prefix has no such file: it holds the base's
files and nothing else. A model whose latent steps pass through a head has its weights beside it, in
latent_head.safetensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from jepa_vlm.adapters import Backbone, load_backbone
from jepa_vlm.errors import ExportError, UnknownNameError
from jepa_vlm.generation.answering import Answering, Plain, read_answering
from jepa_vlm.predictors.saved import Head, build_head
from jepa_vlm.tensor_files import write_tensors

INFERENCE, LATENT_HEAD = "inference.json", "latent_head.safetensors"


def write_inference(folder: Path, answering: Answering, head: nn.Module | None = None) -> None:
    """Write the file, unless the model answers by plain generation without a response prefix.

    Args:
        folder: The exported model's.
        answering: How it answers.
        head: The head that latent steps pass through; its weights are written too.
    """
    if answering != Plain():
        (folder / INFERENCE).write_text(json.dumps(answering.record()) + "\n", encoding="utf-8")
    if head is not None:
        write_tensors(folder / LATENT_HEAD, head.state_dict(), {"format": "pt"})


def read_inference(folder: Path) -> Answering:
    """Return how the model of a folder answers.

    Raises:
        ExportError: If the file is there and does not say.
        UnknownNameError: If it names a way of answering that does not exist.
    """
    path = folder / INFERENCE
    if not path.is_file():
        return Plain()
    try:
        return read_answering(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ExportError(f'{path} must be {{"inference": NAME}}; export the run again.') from None


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
    described = read_inference(folder).head
    if described is not None:
        try:
            backbone.latent_head = head_with_weights(backbone, described, load_file(folder / LATENT_HEAD))
        except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError, UnknownNameError) as err:
            raise ExportError(
                f"{folder / LATENT_HEAD} must hold the weights of {described}, which {INFERENCE} names: {err}. "
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
