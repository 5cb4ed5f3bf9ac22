"""Backbones: vision-language models behind one interface. Loaded on first use: the list of names needs no torch."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from jepa_vlm.errors import BackboneError
from jepa_vlm.lazy import on_first_use

if TYPE_CHECKING:
    from jepa_vlm.adapters.adapter import ADAPTERS, Adapter
    from jepa_vlm.adapters.backbone import Backbone, Profile
    from jepa_vlm.adapters.image_tokens import ImageTokens
    from jepa_vlm.adapters.loading import load_backbone

OLDEST = (5, 23)  # the first with ``mm_encoder_outputs`` and a Pillow backend for every image processor in use
_HOMES = {
    "ADAPTERS": "adapter",
    "Adapter": "adapter",
    "Backbone": "backbone",
    "ImageTokens": "image_tokens",
    "Profile": "backbone",
    "load_backbone": "loading",
}

__all__ = ["ADAPTERS", "Adapter", "Backbone", "ImageTokens", "Profile", "load_backbone"]

_load = on_first_use(__name__, _HOMES)


def __getattr__(name: str) -> object:
    if name in _HOMES:
        check_transformers()
    return _load(name)


def check_transformers() -> None:
    """Refuse a transformers that is too old, before the first import that would fail obscurely.

    Raises:
        BackboneError: If it is.
    """
    found = version("transformers")
    if tuple(int(part) for part in found.split(".")[:2]) < OLDEST:
        needed = ".".join(map(str, OLDEST))
        raise BackboneError(
            f"transformers must be {needed} or later, found {found}; pip install 'transformers>={needed}'."
        )
