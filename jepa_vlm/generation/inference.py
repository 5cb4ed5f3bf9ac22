"""Inference that leaves the model as it was found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def inference(model: nn.Module) -> Iterator[None]:
    """Put every module into eval mode without autograd, and restore each module's own mode afterwards.

    A plain ``model.train()`` at the end would also switch on the dropout of parts that had been kept in eval mode.
    A half-precision model with float32 adapters runs under autocast, as it does in training.
    """
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.inference_mode(), _precision(model):
            yield
    finally:
        for module in training:
            module.training = True


def _precision(model: nn.Module) -> torch.autocast:
    kinds = {parameter.dtype: parameter.device.type for parameter in model.parameters()}
    half = next((kind for kind in kinds if kind in (torch.bfloat16, torch.float16)), torch.bfloat16)
    return torch.autocast(next(iter(kinds.values())), dtype=half, enabled=len(kinds) > 1 and half in kinds)
