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
    """
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module in training:
            module.training = True
