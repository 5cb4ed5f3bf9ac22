"""Merge a checkpoint's adapter into its base, and prove that stock transformers reads the result as the same model."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForImageTextToText

from jepa_vlm import playground
from jepa_vlm.adapters import Backbone, load_backbone
from jepa_vlm.adapters.inside_peft import base_name, belongs_to_adapter
from jepa_vlm.adapters.pretrained import read_model
from jepa_vlm.adapters.processors import load_processor, save_processor
from jepa_vlm.errors import BackboneError, ExportError, RunError
from jepa_vlm.generation.inference import inference
from jepa_vlm.serialization import check_template
from jepa_vlm.training.checkpoint import ADAPTER, ORIGIN, load_adapter, load_parts, read_origin
from jepa_vlm.training.inference_file import Inference, read_inference, write_inference

BEST, CHECKPOINTS = "best", "checkpoints"
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.02}


@final
@dataclass(frozen=True)
class Exported:
    """What an export wrote and checked.

    Args:
        folder: With the model, its processor and tokenizer; needs no jepa_vlm.
        checkpoint: What was merged.
        merged: How many weights the adapter changed.
        difference: Largest difference of logits, relative to the largest logit, between the live model and the folder.
    """

    folder: Path
    checkpoint: Path
    merged: int
    difference: float


def export(run_or_checkpoint: str | Path, *, to: str | Path) -> Exported:
    """Write a checkpoint as a plain model folder: adapter merged, heads and [PRED] left out.

    The folder appears under its name only after it was read back with stock transformers, its logits on a prompt with
    an image agree with the live adapter's, and its tensors are the base's, one by one. Added tokens are the exception:
    the vocabulary may have grown by their rows, and the tokenizer has them.

    Args:
        run_or_checkpoint: A run folder (its best checkpoint is taken) or a checkpoint folder.
        to: The new folder; must not exist, or be empty.

    Raises:
        RunError: If the first is no checkpoint, or a run that has not ended.
        ExportError: If the target is taken, or a check fails; then nothing is left behind.
    """
    checkpoint, target = find_checkpoint(Path(run_or_checkpoint)), Path(to)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ExportError(f"Export folder {target} already holds files; give a new one, or empty it first.")
    draft = target.with_name(f".{target.name}.{os.getpid()}.part")
    draft.parent.mkdir(parents=True, exist_ok=True)
    try:
        exported = _write(checkpoint, draft)
        write_inference(draft, inference_of(checkpoint))
        if target.exists():
            target.rmdir()
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Exported(target, checkpoint, *exported)


def find_checkpoint(folder: Path) -> Path:
    """Return the checkpoint that a folder stands for: a run's best one, or itself.

    Raises:
        RunError: If the run has not ended, so that it has no best one yet.
    """
    if (folder / BEST).is_dir():
        return folder / BEST
    if (folder / CHECKPOINTS).is_dir():
        raise RunError(
            f"The run in {folder} has not ended; go on with it by --resume, or give a folder in {folder / CHECKPOINTS}."
        )
    return folder


def inference_of(folder: Path) -> Inference:
    """Return how the model of a checkpoint or an exported folder answers."""
    if is_checkpoint(folder):
        origin = read_origin(folder)
        return Inference(origin.inference, origin.decoding, origin.opening)
    return read_inference(folder)


def is_checkpoint(folder: Path) -> bool:
    """Say whether a folder is a checkpoint of a run."""
    return (folder / ORIGIN).is_file()


def load_checkpoint(checkpoint: Path) -> Backbone:
    """Return the backbone of a checkpoint with its trained weights, heads left out.

    Raises:
        RunError: If the folder is no checkpoint, or its adapter or added tokens do not fit the backbone.
        BackboneError: If a model that was saved in full lacks weights.
    """
    origin = read_origin(checkpoint)
    backbone = load_backbone(
        origin.backbone,
        seed=origin.seed,
        dtype=origin.dtype,
        visual_tokens=origin.visual_tokens,
        added_tokens=origin.added_tokens,
    )
    if (checkpoint / ADAPTER).is_file():
        adapted = load_adapter(backbone.base, checkpoint)
        config: Any = adapted.peft_config["default"]
        held, wanted = config.trainable_token_indices, backbone.added.rows() if backbone.added is not None else None
        if held != wanted:
            raise RunError(
                f"Checkpoint {checkpoint} trained rows {held}, not those of its added tokens: {wanted}. "
                f"Was the tokenizer of {origin.backbone} changed?"
            )
        load_parts(adapted, checkpoint)
        backbone.model = adapted.eval()
    else:
        backbone.model = read_model(str(checkpoint), dtype=backbone.base.dtype).eval()
    return backbone


def _write(checkpoint: Path, draft: Path) -> tuple[int, float]:
    backbone = load_checkpoint(checkpoint)
    shapes, dtype = _base_shapes(backbone), backbone.base.dtype
    _check_growth(backbone, shapes)
    ids = {} if backbone.added is None else dict(backbone.added.ids)
    live, merged = _logits(backbone.model, backbone.processor, ids), 0
    if isinstance(backbone.model, PeftModel):
        before = _adapted_weights(backbone)
        backbone.model = backbone.model.merge_and_unload()
        after = dict(backbone.base.named_parameters())
        merged = sum(not torch.equal(old, after[name]) for name, old in before.items())
        if not merged:
            raise ExportError(f"Merging {checkpoint} changed none of {len(before)} weights; was the adapter trained?")
    backbone.base.save_pretrained(draft)
    save_processor(backbone.processor, draft, video_processor=backbone.adapter.video_processor)
    adapter = backbone.adapter
    del backbone  # one model in memory at a time
    gc.collect()
    try:
        check_template(load_processor(str(draft)), adapter, calls=0)
    except BackboneError as err:
        raise ExportError(f"The exported model would be asked otherwise than it was trained. {err}") from None
    return merged, _check(draft, live, shapes, dtype, ids)


def _check_growth(backbone: Backbone, shapes: dict[str, tuple[int, ...]]) -> None:
    """Hold the tensors to those of the base without added tokens: these may have more rows of the vocabulary, no more.

    Raises:
        ExportError: If anything else differs.
    """
    added = backbone.added
    if added is None:
        return
    tables = {f"{added.embeddings}.weight", f"{added.head}.weight"}
    odd = {
        name
        for name in shapes.keys() | added.before.keys()
        if (old := added.before.get(name)) != (new := shapes.get(name))
        and not (name in tables and old and new and new[0] > old[0] and new[1:] == old[1:])
    }
    if odd:
        raise ExportError(
            f"{len(odd)} tensors differ from the base's by more than the rows of added tokens, {min(odd)} first."
        )


def _check(
    draft: Path, live: Tensor, shapes: dict[str, tuple[int, ...]], dtype: torch.dtype, ids: Mapping[str, int]
) -> float:
    """Read the folder back with stock transformers; return the relative difference of its logits.

    Raises:
        ExportError: If tensors, logits or the identifiers of added tokens differ.
    """
    read: Any = AutoModelForImageTextToText.from_pretrained(draft, dtype=dtype, output_loading_info=True)
    stock, info = read
    found = {name: tuple(tensor.shape) for name, tensor in stock.state_dict().items()}
    odd = {name for name, _ in found.items() ^ shapes.items()}.union(*(map(str, names) for names in info.values()))
    if odd:
        raise ExportError(f"The merged folder differs from the base in {len(odd)} tensors, {min(odd)} first.")
    processor = load_processor(str(draft))
    for token, number in ids.items():
        if (found_ids := processor.tokenizer(token, add_special_tokens=False).input_ids) != [number]:
            raise ExportError(f"The saved tokenizer reads the added token {token!r} as {found_ids}, not as {number}.")
    logits = _logits(stock.eval(), processor, ids)
    if logits.shape != live.shape:
        raise ExportError(f"The saved processor is another: its prompt gives {logits.shape} logits, not {live.shape}.")
    difference = float((logits - live).abs().max() / live.abs().max())
    if not difference <= TOLERANCE[dtype]:
        raise ExportError(
            f"Logits of the merged folder differ from the live model's by {difference:.2g} of the largest, "
            f"limit {TOLERANCE[dtype]:g} in {dtype}; nothing was exported. A float32 run merges more exactly."
        )
    return difference


def _base_shapes(backbone: Backbone) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of the model's tensors as they were before the adapter."""
    state = backbone.base.state_dict()
    return {base_name(name): tuple(tensor.shape) for name, tensor in state.items() if not belongs_to_adapter(name)}


def _adapted_weights(backbone: Backbone) -> dict[str, Tensor]:
    return {
        base_name(name): parameter.detach().clone()
        for name, parameter in backbone.base.named_parameters()
        if name.endswith(".base_layer.weight")
    }


def _logits(model: Any, processor: Any, tokens: Iterable[str]) -> Tensor:
    """Return logits on a prompt with an image and the added tokens, through the processor's own chat template."""
    item = playground.questions("visual-search", count=1)[0]
    content = [
        {"type": "image", "image": item.images[0].load()},
        {"type": "text", "text": item.prompt + "".join(tokens)},
    ]
    batch = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        add_generation_prompt=True,
    )
    with inference(model):
        logits: Tensor = model(**batch.to(next(model.parameters()).device), use_cache=False).logits
    return logits.double().cpu()
