"""Features out of any family's container, and embeddings into any family's model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from jepa_vlm.typing import Hidden


def flat(features: Any) -> Tensor:
    """Return features as ("rows", "dim"), whatever container a family puts them in."""
    pieces = features if not torch.is_tensor(features) else [features]
    return torch.cat([piece.reshape(-1, piece.shape[-1]) for piece in pieces])


@contextmanager
def fed(base: Any, embeddings: Hidden) -> Iterator[None]:
    """Let the model's embedding layer return these embeddings, whatever identifiers it is given."""
    handle = base.get_input_embeddings().register_forward_hook(lambda module, args, out: embeddings[None])
    try:
        yield
    finally:
        handle.remove()
