"""Backbones: vision-language models behind one interface. Loaded on first use: the list of names needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jepa_vlm.lazy import on_first_use

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

_load = on_first_use(__name__, _HOMES)


def __getattr__(name: str) -> object:
    if name in _HOMES:
        from jepa_vlm.adapters.requirements import check_transformers

        check_transformers()
    return _load(name)
