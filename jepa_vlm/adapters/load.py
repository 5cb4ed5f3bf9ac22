"""``load_backbone``: a tiny model of the package, a local folder or a hub id, behind one call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedModel

from jepa_vlm.adapters import qwen2_5_vl as qwen2_5_vl  # files itself in ADAPTERS
from jepa_vlm.adapters.adapter import ADAPTERS
from jepa_vlm.adapters.backbone import Backbone, Profile
from jepa_vlm.adapters.names import BACKBONES, DTYPES, Named
from jepa_vlm.adapters.processors import load_processor
from jepa_vlm.adapters.tiny import tiny_qwen2_5_vl
from jepa_vlm.errors import BackboneError, UnknownNameError

WEIGHTS = Path(__file__).with_name("weights")
_RANDOM: dict[str, Callable[..., tuple[PreTrainedModel, Any]]] = {"tiny-random-qwen2.5-vl": tiny_qwen2_5_vl}
_SHIPPED = {"tiny-qwen2.5-vl": WEIGHTS / "tiny-qwen2.5-vl"}
_TINY = Profile(learning_rate=3e-3, lora_rank=16, lora_alpha=32, batch_size=8, accumulation=1, steps=600)


def load_backbone(
    name: str,
    *,
    seed: int = 0,
    dtype: str | torch.dtype = "float32",
    visual_tokens: int | None = None,
    trust_remote_code: bool = False,
) -> Backbone:
    """Load a vision-language model, its processor and its adapter.

    Args:
        name: A name of ``jepa-vlm backbones``, a local folder saved by transformers, or a hub id ("owner/name").
        seed: Of the weights of a ``tiny-random-*`` model; the others have weights of their own.
        dtype: Of the weights: ``float32``, ``bfloat16``, ``float16``, ``float64``, or a torch dtype.
        visual_tokens: Most tokens that one image may take; larger images are shrunk. None keeps the processor's limit.
        trust_remote_code: Passed to transformers; code of the repository runs only if this is set.

    Raises:
        UnknownNameError: If nothing has this name, or no adapter covers the model's family.
        BackboneError: If the folder is not a model, or the hub cannot be reached.
    """
    torch_dtype = _dtype(dtype)
    profile = _TINY if name in _RANDOM or name in _SHIPPED else Profile()
    if name in _RANDOM:
        model, processor = _RANDOM[name](seed=seed)
        model = nn.Module.to(model, torch_dtype)
    else:
        model, processor = _from_pretrained(_source(name), torch_dtype, trust_remote_code=trust_remote_code)
    adapter = ADAPTERS[model.config.model_type](config=model.config)
    if visual_tokens is not None:
        _limit_pixels(processor.image_processor, visual_tokens)
    return Backbone(name=name, model=model.eval(), processor=processor, adapter=adapter, profile=profile)


def _dtype(dtype: str | torch.dtype) -> torch.dtype:
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype not in DTYPES:
        raise UnknownNameError("dtype", dtype, known=DTYPES)
    found: torch.dtype = getattr(torch, dtype)
    return found


def _source(name: str) -> str:
    """Return the folder or hub id behind a name."""
    if name in _SHIPPED:
        return str(_SHIPPED[name])
    named: Named | None = BACKBONES.get(name)
    if named is not None and named.family not in ADAPTERS:
        raise BackboneError(
            f"{name} is of the family {named.family!r}, which has no adapter yet (there are: {', '.join(ADAPTERS)}); "
            "see docs/adding_an_adapter.md."
        )
    if named is not None and named.hub_id:
        return named.hub_id
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise BackboneError(
                f"Folder {name} has no config.json; give a folder saved by transformers' save_pretrained."
            )
        return str(path)
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") != 1:
        if "/" in name:
            raise BackboneError(
                f"Folder {name} does not exist; check the path, or give a name of `jepa-vlm backbones`."
            )
        raise UnknownNameError(
            "backbone", name, known=BACKBONES, hint="A local folder or a hub id (owner/name) works too."
        )
    return name


def _from_pretrained(source: str, dtype: torch.dtype, *, trust_remote_code: bool) -> tuple[PreTrainedModel, Any]:
    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=trust_remote_code)
        ADAPTERS[config.model_type]  # refuse an unknown family before gigabytes are read
        model = AutoModelForImageTextToText.from_pretrained(
            source, dtype=dtype, trust_remote_code=trust_remote_code, use_safetensors=True
        )
        processor = load_processor(source, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as err:
        where = "folder" if Path(source).is_dir() else "hub id"
        first_line = str(err).strip().splitlines()[0]
        remedy = (
            "check that it holds a model and its processor, saved by transformers."
            if where == "folder"
            else "check the id and the network, or download it elsewhere and give the folder."
        )
        raise BackboneError(f"Cannot load {where} {source}: {first_line} To mend it, {remedy}") from None
    return model, processor


def _limit_pixels(image_processor: Any, visual_tokens: int) -> None:
    if visual_tokens < 1:
        raise BackboneError(f"visual_tokens must be at least 1, got {visual_tokens}.")
    side = image_processor.patch_size * image_processor.merge_size
    size = dict(image_processor.size)
    size["longest_edge"] = visual_tokens * side * side
    size["shortest_edge"] = min(size["shortest_edge"], size["longest_edge"])
    image_processor.size = size
