"""The software and the weights that produced a number."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from jepa_vlm.adapters import Backbone

PACKAGES = {"jepa_vlm": "jepa-vlm", "torch": "torch", "transformers": "transformers", "peft": "peft"}


def versions() -> dict[str, str]:
    """Return the versions of Python, of the platform and of the packages that decide numbers."""
    found = {name: _version(package) for name, package in PACKAGES.items()}
    return {**found, "python": platform.python_version(), "platform": platform.platform()}


def commit() -> str | None:
    """Return the commit of the checkout that the package runs from, "-dirty" if edited; None without a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        described = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip() or None


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


VALUES = 256  # values read of each parameter, evenly spaced: training moves them all


def weights_fingerprint(backbone: Backbone) -> str:
    """Return a digest of every parameter's name, shape, type and a sample of its values."""
    digest = hashlib.sha256()
    for name, parameter in sorted(backbone.model.named_parameters()):
        values = parameter.detach().flatten()
        sample = values[:: max(1, len(values) // VALUES)].to("cpu", torch.float32)
        digest.update(f"{name} {tuple(parameter.shape)} {parameter.dtype}".encode())
        digest.update(sample.numpy().tobytes())
    return digest.hexdigest()[:32]
