"""Backbones: vision-language models behind one interface. Loaded on first use: the list of names needs no torch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jepa_vlm.adapters.adapter import ADAPTERS, Adapter
    from jepa_vlm.adapters.backbone import Backbone, Profile
    from jepa_vlm.adapters.image_tokens import ImageTokens
    from jepa_vlm.adapters.load import load_backbone

_HOMES = {
    "ADAPTERS": "adapter",
    "Adapter": "adapter",
    "Backbone": "backbone",
    "ImageTokens": "image_tokens",
    "Profile": "backbone",
    "load_backbone": "load",
}

__all__ = ["ADAPTERS", "Adapter", "Backbone", "ImageTokens", "Profile", "load_backbone"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'jepa_vlm.adapters' has no attribute {name!r}")
    from jepa_vlm.adapters.requirements import check_transformers

    check_transformers()
    return getattr(importlib.import_module(f"jepa_vlm.adapters.{_HOMES[name]}"), name)
