"""Whether a model is the one that gave earlier answers."""

from __future__ import annotations

import hashlib

import torch

from jepa_vlm.adapters import Backbone

VALUES = 256  # of each parameter, evenly spaced: training moves them all


def weights_fingerprint(backbone: Backbone) -> str:
    """Return a digest of every parameter's name, shape, type and a sample of its values."""
    digest = hashlib.sha256()
    for name, parameter in sorted(backbone.model.named_parameters()):
        values = parameter.detach().flatten()
        sample = values[:: max(1, len(values) // VALUES)].to("cpu", torch.float32)
        digest.update(f"{name} {tuple(parameter.shape)} {parameter.dtype}".encode())
        digest.update(sample.numpy().tobytes())
    return digest.hexdigest()[:32]
