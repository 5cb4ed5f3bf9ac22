"""``load_backbone``: load a tiny model of the package, a local folder or a hub id."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    BitsAndBytesConfig,
    PretrainedConfig,
    PreTrainedModel,
)

from jepa_vlm.adapters.adapter import Adapter
from jepa_vlm.adapters.added_tokens import add_tokens
from jepa_vlm.adapters.backbone import Backbone, Profile
from jepa_vlm.adapters.families import adapter_of
from jepa_vlm.adapters.names import BACKBONES, DTYPES, Named
from jepa_vlm.adapters.processors import load_processor
from jepa_vlm.adapters.tiny import TINY
from jepa_vlm.adapters.tiny.build import build_tiny
from jepa_vlm.errors import BackboneError, UnknownNameError, missing_extra
from jepa_vlm.typing import Processor

WEIGHTS = Path(__file__).with_name("weights")
PLUG_INS = "jepa_vlm.adapters"
PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json")
_BUNDLED = {"tiny-qwen2.5-vl": WEIGHTS / "tiny-qwen2.5-vl"}
# The bundled model answers at the prompt's end. Training at 5e-4 and 1e-3 moves the answer behind latent steps; at 3e-3
# the words that are trained first destroy it (docs/method.md, "Coconut on the bundled default model").
_TINY = Profile(
    learning_rate=3e-3,
    forced_learning_rate=5e-4,
    lora_rank=16,
    lora_alpha=32,
    batch_size=8,
    accumulation=1,
    steps=600,
)


def load_backbone(
    name: str,
    *,
    seed: int = 0,
    dtype: str | torch.dtype = "float32",
    exact: bool = False,
    visual_tokens: int | None = None,
    quantize: bool = False,
    trust_remote_code: bool = False,
    added_tokens: Sequence[str] = (),
) -> Backbone:
    """Load a vision-language model, its processor and its adapter.

    Args:
        name: A name of ``jepa-vlm backbones``, a local folder saved by transformers, or a hub id ("owner/name").
        seed: Random seed of the weights of a ``tiny-random-*`` model, and of the rows of added tokens.
        dtype: Type of the weights: ``float32``, ``bfloat16``, ``float16``, ``float64``, or a torch dtype.
        exact: Whether weights that are stored in a wider type keep it, so that parameters that train start from the
            stored values and not from values rounded to ``dtype``; ``apply_lora`` casts all others to ``dtype``.
        visual_tokens: Most tokens that one image may take; larger images are shrunk, or cut into fewer tiles. None
            keeps the processor's limit.
        quantize: Whether the base's linear layers are held in 4 bits (NF4), under LoRA in full precision (QLoRA, arXiv
            2305.14314). Needs bitsandbytes.
        trust_remote_code: Passed to transformers; code of the repository runs only if this is set.
        added_tokens: Special tokens to add to the vocabulary, where it does not have them; see ``add_tokens``.

    Raises:
        UnknownNameError: If nothing has this name, or transformers' interfaces do not cover the model's kind.
        BackboneError: If the folder holds no complete model or no processor, the hub cannot be reached, model and
            processor do not fit, or a token cannot be added.
        JepaVLMError: If ``quantize`` is set and bitsandbytes is not installed.
    """
    torch_dtype = _dtype(dtype)
    _load_plug_ins()
    quantized = _four_bits(name, torch_dtype) if quantize else {}
    if name in TINY:
        model, processor = build_tiny(TINY[name], seed=seed)
        model = nn.Module.to(model, torch.promote_types(model.dtype, torch_dtype) if exact else torch_dtype)
    else:
        source = source_of(name)
        config = _read_config(source, trust_remote_code)
        adapter_of(config)  # before gigabytes are read
        processor = _read_processor(source, trust_remote_code)
        kept = torch.promote_types(_dtype(config.dtype or torch.float32), torch_dtype) if exact else torch_dtype
        model = _read_model(source, dtype=kept, trust_remote_code=trust_remote_code, **quantized)
    adapter = adapter_of(model.config)
    _check_processor(name, adapter, processor)
    if visual_tokens is not None:
        if visual_tokens < 1:
            raise BackboneError(f"visual_tokens must be at least 1, got {visual_tokens}.")
        adapter.limit_visual_tokens(processor, visual_tokens)
    profile = _TINY if name in TINY or name in _BUNDLED else Profile()
    if adapter.separate_because:
        profile = replace(profile, engine="separate")
    added = add_tokens(model, processor.tokenizer, added_tokens, seed=seed) if added_tokens else None
    backbone = Backbone(name, model.eval(), processor, adapter, profile, added)
    backbone.dtype = torch_dtype
    return backbone


@cache
def _load_plug_ins() -> None:
    """Import the adapters of installed packages, which register themselves in ``ADAPTERS``."""
    for point in entry_points(group=PLUG_INS):
        try:
            point.load()
        except Exception as err:
            raise BackboneError(f"The plug-in {point.name!r} ({point.value}) does not load: {err}") from err


def _check_processor(name: str, adapter: Adapter, processor: Processor) -> None:
    """Check that the processor writes the token that the model expects in an image's place.

    A processor without chat template gets that of the family.

    Raises:
        BackboneError: If it writes another token, or there is no template.
    """
    if not processor.chat_template:
        if not adapter.template:
            raise BackboneError(f"The processor of {name} has no chat template; save one as chat_template.jinja.")
        processor.chat_template = adapter.template
    if adapter.feature_id < 0:
        return
    written = adapter.image_tokens(processor, 224, 224)
    found = processor.tokenizer(written.text, add_special_tokens=False).input_ids
    if not written.runs or found.count(adapter.feature_id) != len(written.runs):
        raise BackboneError(
            f"The model of {name} expects token {adapter.feature_id} in an image's place, and its processor writes "
            f"{written.text[:60]!r} without it; they do not belong together."
        )


def _dtype(dtype: str | torch.dtype) -> torch.dtype:
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype not in DTYPES:
        raise UnknownNameError("dtype", dtype, known=DTYPES)
    found: torch.dtype = getattr(torch, dtype)
    return found


def source_of(name: str) -> str:
    """Return the folder or hub id behind a name."""
    if name in _BUNDLED:
        return str(_BUNDLED[name])
    named: Named | None = BACKBONES.get(name)
    if named is not None:
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


def _four_bits(name: str, dtype: torch.dtype) -> dict[str, Any]:
    if name in TINY:
        raise BackboneError(
            f"{name} is built with random weights and has no weights to quantize; leave it in full precision."
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise missing_extra("bitsandbytes", "qlora", "Holding the base in 4 bits")
    kinds = {"bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": dtype, "bnb_4bit_use_double_quant": True}
    return {"quantization_config": BitsAndBytesConfig(load_in_4bit=True, **kinds)}


def _read_config(source: str, trust_remote_code: bool) -> PretrainedConfig:
    """Return the configuration of a model.

    Raises:
        BackboneError: If it cannot be read.
    """
    with one_message(source):
        config: PretrainedConfig = AutoConfig.from_pretrained(source, trust_remote_code=trust_remote_code)
    return config


def _read_processor(source: str, trust_remote_code: bool) -> Processor:
    """Return the processor that belongs to a model.

    Raises:
        BackboneError: If a file of it is missing or cannot be read.
    """
    folder = Path(source)
    if folder.is_dir():
        for what, names in (("image processor", PROCESSOR_FILES), ("tokenizer", TOKENIZER_FILES)):
            if not any((folder / name).is_file() for name in names):
                raise BackboneError(
                    f"Folder {source} has no {what} ({' or '.join(names)}); copy it from the model that this one was "
                    "made from, or save the processor there with save_pretrained."
                )
    with one_message(source):
        return load_processor(source, trust_remote_code=trust_remote_code)


def _read_model(source: str, **settings: Any) -> PreTrainedModel:
    """Return a model with all its weights; ``settings`` go to ``from_pretrained``.

    Raises:
        BackboneError: If the weights cannot be read, or some are missing: transformers would make them up.
    """
    with one_message(source):
        loaded: Any = AutoModelForImageTextToText.from_pretrained(
            source, use_safetensors=True, output_loading_info=True, **settings
        )
    model, info = loaded
    missing = sorted(info["missing_keys"])
    if missing:
        raise BackboneError(
            f"The weights of {source} leave out {len(missing)} of the model's, {missing[0]} first, which would be "
            "random; the files are not whole, or belong to another model than config.json says."
        )
    found: PreTrainedModel = model
    return found


@contextmanager
def one_message(source: str) -> Iterator[None]:
    """Turn exceptions of transformers into one sentence on what happened and one on what to do."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, ImportError, SafetensorError) as err:
        if Path(source).is_dir():
            where, remedy = "folder", "check that it holds a whole model and its processor, saved by transformers"
        else:
            where, remedy = "hub id", "check the id and the network, or download it elsewhere and give the folder"
        if isinstance(err, ImportError):
            remedy = "install what it asks for"
        reason = next(iter(str(err).strip().splitlines()), type(err).__name__).rstrip(".")
        raise BackboneError(f"Cannot load {where} {source}: {reason}. To mend it, {remedy}.") from None
