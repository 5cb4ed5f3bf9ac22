"""The backbones that have a name; plain data, so that listing them imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

DTYPES = ("float32", "bfloat16", "float16", "float64")


@final
@dataclass(frozen=True)
class Named:
    """A named backbone.

    Args:
        hub_id: Where its weights are, or "" if they are in the package or made on the spot.
        family: Its ``model_type`` in transformers, which names the adapter that it needs.
        note: One line for the list.
    """

    hub_id: str
    family: str
    note: str


BACKBONES: dict[str, Named] = {
    "tiny-qwen2.5-vl": Named(
        "",
        "qwen2_5_vl",
        "Qwen2.5-VL's architecture, 1.4M parameters that have learned to see the playground; the default",
    ),
    "tiny-random-qwen2.5-vl": Named(
        "", "qwen2_5_vl", "Qwen2.5-VL's architecture, 1M random weights, built offline; takes a seed"
    ),
    "qwen2.5-vl-3b": Named(
        "Qwen/Qwen2.5-VL-3B-Instruct", "qwen2_5_vl", "from the hub; not yet checked on the real weights"
    ),
    "qwen2.5-vl-7b": Named(
        "Qwen/Qwen2.5-VL-7B-Instruct", "qwen2_5_vl", "from the hub; not yet checked on the real weights"
    ),
    "qwen3-vl-4b": Named(
        "Qwen/Qwen3-VL-4B-Instruct", "qwen3_vl", "from the hub; its family has no adapter yet and is refused"
    ),
}
