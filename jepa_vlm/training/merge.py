"""Merge a checkpoint's adapter into its base, and prove that stock transformers reads the result as the same model."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, final

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import safe_open
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText, PreTrainedModel

from jepa_vlm import playground
from jepa_vlm.adapters import Backbone
from jepa_vlm.adapters.base_folder import base_folder, kept_files
from jepa_vlm.adapters.inside_peft import base_name, belongs_to_adapter
from jepa_vlm.adapters.processors import load_processor
from jepa_vlm.adapters.tiny import TINY
from jepa_vlm.errors import BackboneError, ExportError
from jepa_vlm.generation.greedy import inference
from jepa_vlm.serialization import check_template
from jepa_vlm.training.base_files import Changes, check_files, copy_files, stored_type, write_weights
from jepa_vlm.training.checkpoint import (
    PARTS,
    answering_of,
    find_checkpoint,
    load_checkpoint,
    read_origin,
    write_inference,
)
from jepa_vlm.whole_files import whole

RECORD = "export.json"
SHOWN = 4  # paths of one file; all are in the record
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.02}


@final
@dataclass(frozen=True)
class Exported:
    """What an export wrote and checked; ``export.json`` in its folder holds it too.

    Args:
        folder: Folder with the model, its processor and tokenizer; needs no jepa_vlm.
        checkpoint: Checkpoint that was merged.
        base: Backbone whose files the folder has.
        merged: Number of weights that are no longer the base's.
        difference: Largest difference of logits, relative to the largest logit, between the live model and the folder.
        dtype: Type in which the live model computed.
        types: Number of tensors of each type: the base's.
        unread: Tensors that the model does not read; they are the base's.
        changed: Differences from the base by file and dotted path of a value.
        left_out: Files of the base that were not copied.
    """

    folder: Path
    checkpoint: Path
    base: str
    merged: int
    difference: float
    dtype: str
    types: Mapping[str, int]
    unread: tuple[str, ...]
    changed: Mapping[str, Changes]
    left_out: tuple[str, ...]

    def told(self) -> list[str]:
        """Return what a user should know, a line each."""
        kinds = " and ".join(sorted(self.types))
        stored = "" if kinds == self.dtype else f"; the run computed in {self.dtype}, and the base is stored in {kinds}"
        lines = [f"{self.merged} weights changed, logits differ by {self.difference:.1g} of the largest{stored}"]
        for file, changes in self.changed.items():
            paths = [path or "new" for path in changes]
            more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
            lines.append(f"unlike the base's, {file}: {', '.join(paths[:SHOWN])}{more}")
        if self.left_out:
            lines.append(f"not copied from the base: {', '.join(self.left_out)}")
        if self.base in TINY:
            lines.append(f"{self.base} has no files of its own: these are of transformers 5, and 4 would misread them")
        return lines


def export(run_or_checkpoint: str | Path, *, to: str | Path) -> Exported:
    """Write a checkpoint as a plain model folder: adapter merged, heads and [PRED] left out.

    A head that latent steps pass through is no part of the model; it lies beside it (``write_inference``).

    Its files are the base's, with other weights: names, types and shards of the tensors included. What had to change in
    the others is listed, see ``copy_files``. The folder appears under its name only after its files were compared with
    the base's, and after stock transformers read it back and computed the live adapter's logits on a prompt with an
    image.

    Args:
        run_or_checkpoint: A run folder (its best checkpoint is taken) or a checkpoint folder.
        to: The new folder; must not exist, or be empty.

    Raises:
        RunError: If the first is no checkpoint, or a run that has not ended.
        ExportError: If the target is taken, the base's files cannot be copied, or a check fails; then nothing is left
            behind.
    """
    checkpoint, target = find_checkpoint(Path(run_or_checkpoint)), Path(to)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ExportError(f"Export folder {target} already holds files; give a new one, or empty it first.")
    with whole(target) as draft:
        draft.mkdir()
        found = _write(checkpoint, draft)
        said = {**found, "written_by": {name: version(name) for name in ("jepa-vlm", "transformers")}}
        (draft / RECORD).write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        if target.exists():
            target.rmdir()
    return Exported(target, checkpoint, **found)


def merge_adapter(model: PeftModel) -> PreTrainedModel:
    """Return the base with the adapter in its weights, added in float32 at least and rounded once to their type."""
    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            weight: nn.Parameter = module.get_base_layer().weight  # type: ignore[assignment]
            kind = weight.dtype
            weight.data = weight.data.to(torch.promote_types(kind, torch.float32))
            module.merge()
            weight.data = weight.data.to(kind)
    merged: PreTrainedModel = model.unload()
    return merged


def _write(checkpoint: Path, draft: Path) -> dict[str, Any]:
    """Fill the folder and check it; return what ``Exported`` says of it."""
    origin = read_origin(checkpoint)
    with base_folder(origin.backbone, seed=origin.seed, dtype=origin.dtype) as base:
        kept_files(base)  # a base that cannot be copied is refused before gigabytes are read
        backbone, stored = load_checkpoint(checkpoint), stored_type(base)
        shapes, run = _base_shapes(backbone), backbone.dtype
        _check_growth(backbone, shapes)
        ids = {} if backbone.added is None else dict(backbone.added.ids)
        live = _logits(backbone.model, backbone.processor, ids, backbone.precision())
        kind = run if torch.promote_types(run, stored) == run else stored
        if kind != run:  # the run's type does not hold the base's numbers
            del backbone  # one model in memory at a time
            gc.collect()
            backbone = load_checkpoint(checkpoint, dtype=kind)
        adapted, trained = _trained(backbone, checkpoint)
        if isinstance(backbone.model, PeftModel):
            backbone.model = merge_adapter(backbone.model)
            found = _logits(backbone.model, backbone.processor, ids, backbone.precision())
            _check_same("merged model", found, live, run, kind)
        written = write_weights(backbone.base, base, draft, run=run, grown=backbone.added is not None)
        if adapted and not adapted & written.changed:
            raise ExportError(f"Merging {checkpoint} changed none of {len(adapted)} weights; was the adapter trained?")
        if trained is not None and (odd := written.changed & (shapes.keys() - trained)):
            raise ExportError(f"{len(odd)} tensors that did not train are no longer the base's, {min(odd)} first.")
        copied = copy_files(base, draft, backbone, added=written.added)
        check_files(base, draft, copied)
        try:
            check_template(load_processor(str(draft)), backbone.adapter, calls=0)
        except BackboneError as err:
            raise ExportError(f"The exported model would be asked otherwise than it was trained. {err}") from None
        write_inference(draft, answering_of(checkpoint), backbone.latent_head)
        rounded = _logits(backbone.base, backbone.processor, ids, backbone.precision())
    del backbone
    gc.collect()
    found = _read_back(draft, shapes, kind, ids)
    _check_same("exported folder", found, rounded, kind, kind if written.in_place else stored)
    return {
        "base": origin.backbone,
        "merged": len(written.changed),
        "difference": _difference(found, live),  # rounding to the base's types is no fault, but it is reported
        "dtype": str(run).removeprefix("torch."),
        "types": written.types,
        "unread": written.unread,
        "changed": copied.changed,
        "left_out": copied.left_out,
    }


def _trained(backbone: Backbone, checkpoint: Path) -> tuple[set[str], set[str] | None]:
    """Return the names of the tensors that the adapter changes, and of all that trained; None if that is not known."""
    if not isinstance(backbone.model, PeftModel):
        return set(), None
    suffix = ".base_layer.weight"
    adapted = {base_name(name) for name, _ in backbone.base.named_parameters() if name.endswith(suffix)}
    if not (checkpoint / PARTS).is_file():
        return adapted, adapted
    with safe_open(checkpoint / PARTS, framework="pt") as held:
        return adapted, adapted | set(held.keys())


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


def _read_back(draft: Path, shapes: dict[str, tuple[int, ...]], dtype: torch.dtype, ids: Mapping[str, int]) -> Tensor:
    """Read the folder with stock transformers; return its logits.

    Raises:
        ExportError: If tensors or the identifiers of added tokens differ.
    """
    read: Any = AutoModelForImageTextToText.from_pretrained(draft, dtype=dtype, output_loading_info=True)
    stock, info = read
    found = {name: tuple(tensor.shape) for name, tensor in stock.state_dict().items()}
    info.pop("unexpected_keys")  # the files have the base's keys, those included that no model reads
    odd = {name for name, _ in found.items() ^ shapes.items()}.union(*(map(str, names) for names in info.values()))
    if odd:
        raise ExportError(f"The merged folder differs from the base in {len(odd)} tensors, {min(odd)} first.")
    processor = load_processor(str(draft))
    for token, number in ids.items():
        if (found_ids := processor.tokenizer(token, add_special_tokens=False).input_ids) != [number]:
            raise ExportError(f"The saved tokenizer reads the added token {token!r} as {found_ids}, not as {number}.")
    return _logits(stock.eval(), processor, ids, nullcontext())


def _check_same(what: str, found: Tensor, expected: Tensor, *kinds: torch.dtype) -> None:
    """Hold the logits of a model to those of the one that it must be.

    Raises:
        ExportError: If they differ by more than the coarsest of the types explains.
    """
    if found.shape != expected.shape:
        raise ExportError(f"The {what} reads another prompt: it has {found.shape} logits, not {expected.shape}.")
    kind = max(kinds, key=TOLERANCE.__getitem__)
    if not (difference := _difference(found, expected)) <= TOLERANCE[kind]:
        raise ExportError(
            f"Logits of the {what} differ from the live model's by {difference:.2g} of the largest, limit "
            f"{TOLERANCE[kind]:g} in {kind}; nothing was exported. A float32 run merges more exactly."
        )


def _difference(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


def _base_shapes(backbone: Backbone) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of the model's tensors as they were before the adapter."""
    state = backbone.base.state_dict()
    return {base_name(name): tuple(tensor.shape) for name, tensor in state.items() if not belongs_to_adapter(name)}


def _logits(model: Any, processor: Any, tokens: Iterable[str], precision: AbstractContextManager[object]) -> Tensor:
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
    with inference(model), precision:
        logits: Tensor = model(**batch.to(next(model.parameters()).device), use_cache=False).logits
    return logits.double().cpu()
