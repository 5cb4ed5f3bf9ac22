"""Reads a saved model and its processor, from a folder or the hub: whole, or with one message on what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForImageTextToText, PretrainedConfig, PreTrainedModel

from jepa_vlm.adapters.processors import load_processor
from jepa_vlm.errors import BackboneError

PROCESSOR = ("processor_config.json", "preprocessor_config.json")
TOKENIZER = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json")


def read_config(source: str, trust_remote_code: bool) -> PretrainedConfig:
    """Return the configuration of a model.

    Raises:
        BackboneError: If it cannot be read.
    """
    with one_message(source):
        config: PretrainedConfig = AutoConfig.from_pretrained(source, trust_remote_code=trust_remote_code)
    return config


def read_processor(source: str, trust_remote_code: bool) -> Any:
    """Return the processor that belongs to a model.

    Raises:
        BackboneError: If a file of it is missing or cannot be read.
    """
    folder = Path(source)
    if folder.is_dir():
        for what, names in (("image processor", PROCESSOR), ("tokenizer", TOKENIZER)):
            if not any((folder / name).is_file() for name in names):
                raise BackboneError(
                    f"Folder {source} has no {what} ({' or '.join(names)}); copy it from the model that this one was "
                    "made from, or save the processor there with save_pretrained."
                )
    with one_message(source):
        return load_processor(source, trust_remote_code=trust_remote_code)


def read_model(source: str, **settings: Any) -> PreTrainedModel:
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
    """Turn what transformers raises into one sentence on what happened and one on what to do."""
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
