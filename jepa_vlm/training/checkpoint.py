"""Write and load checkpoints: what trained of the backbone, and the objective's own parameters beside it.

    adapter_model.safetensors, adapter_config.json   load with ``PeftModel.from_pretrained(base, folder)``; the rows of
                                                     added tokens are in them too
    parts.safetensors                                the parts that train in full, in at least float32, under the names
                                                     of the loaded model
    heads.safetensors                                heads, [PRED] inputs, averaged target weights: for resuming only,
                                                     except the head that latent steps pass through
    origin.json                                      which backbone it belongs to, and how the model answers
The Trainer adds optimizer.pt, scheduler.pt, rng_state.pth and trainer_state.json, which only resuming reads.

An exported folder says in inference.json how its model answers, unless that is the base's own ``generate``; the weights
of a head that latent steps pass through lie beside it, in latent_head.safetensors.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from jepa_vlm.adapters import Backbone, load_backbone
from jepa_vlm.adapters.inside_peft import belongs_to_adapter
from jepa_vlm.errors import ExportError, RunError, UnknownNameError
from jepa_vlm.generation.answering import Answering, Plain, read_answering
from jepa_vlm.latent_vlm import LatentVLM
from jepa_vlm.objectives import LatentReconstruction
from jepa_vlm.predictors.saved import Head, build_head
from jepa_vlm.whole_files import write_tensors

ADAPTER, PARTS, HEADS = "adapter_model.safetensors", "parts.safetensors", "heads.safetensors"
ORIGIN, INFERENCE, LATENT_HEAD = "origin.json", "inference.json", "latent_head.safetensors"
BEST, CHECKPOINTS = "best", "checkpoints"
PT = {"format": "pt"}  # without it, transformers refuses the file
STATE, PICKLED = "trainer_state.json", ("optimizer.pt", "scheduler.pt")


@final
@dataclass(frozen=True)
class Origin:
    """The backbone that a checkpoint belongs to, and how the model answers.

    Args:
        backbone, dtype, visual_tokens, added_tokens: Arguments of ``load_backbone``.
        seed: Likewise; matters for random weights only.
        answering: How the model answers once it is trained: ``Recipe.answering``.
    """

    backbone: str
    seed: int
    dtype: str
    visual_tokens: int | None = None
    added_tokens: tuple[str, ...] = ()
    answering: Answering = Plain()  # noqa: RUF009


def save_weights(model: LatentVLM, folder: Path, origin: Origin) -> None:
    """Write a model's trained parts into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    inner = model.backbone.model
    if isinstance(inner, PeftModel):
        write_tensors(folder / ADAPTER, _adapter_state(inner), PT)
        config = inner.peft_config["default"]
        training, config.inference_mode = config.inference_mode, True
        config.save_pretrained(str(folder))
        config.inference_mode = training
    if in_full := _trained_in_full(model.backbone):
        write_tensors(folder / PARTS, in_full, PT)
    write_tensors(folder / HEADS, _own_state(model), PT)
    known = {name: value for name, value in vars(origin).items() if name != "answering"} | origin.answering.record()
    if not origin.added_tokens:
        del known["added_tokens"]
    (folder / ORIGIN).write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


def load_weights(model: LatentVLM, folder: Path) -> None:
    """Read a folder of ``save_weights`` into a model of the same make.

    Raises:
        RunError: If the folder lacks a file, or its tensors do not fit.
    """
    inner, in_full = model.backbone.model, set(_trained_in_full(model.backbone))
    for needed in (*([ADAPTER] if isinstance(inner, PeftModel) else []), *([PARTS] if in_full else []), HEADS):
        if not (folder / needed).is_file():
            raise RunError(f"Checkpoint {folder} has no {needed}; it is incomplete, resume from an earlier one.")
    if isinstance(inner, PeftModel):
        held = load_file(folder / ADAPTER)
        _compare(folder / ADAPTER, set(_adapter_state(inner)), set(held))
        set_peft_model_state_dict(inner, held)
    _compare(folder / PARTS, in_full, load_parts(model.backbone, folder))
    heads = load_file(folder / HEADS)
    own = _own_state(model)
    _compare(folder / HEADS, set(own), set(heads))
    for key, tensor in own.items():  # views of the model's own storage
        tensor.copy_(heads[key])


def load_latent_head(backbone: Backbone, folder: Path, described: Mapping[str, Any]) -> Head:
    """Return the head that latent steps pass through, from the heads of a checkpoint.

    Raises:
        RunError: If it is not among them, or does not fit.
    """
    within = f"objective.terms.{LatentReconstruction.name}.predictor."
    try:
        held = {n.removeprefix(within): t for n, t in load_file(folder / HEADS).items() if n.startswith(within)}
        return head_with_weights(backbone, described, held)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError, UnknownNameError) as err:
        raise RunError(
            f"{folder / HEADS} must hold the latent head {dict(described)}, which {ORIGIN} names: {err}."
        ) from None


def load_adapter(base: PreTrainedModel, folder: Path) -> PeftModel:
    """Return the base with the adapter of a folder.

    Raises:
        RunError: If a tensor is missing or has no place: PEFT would only warn, and leave the base as it was there.
    """
    try:
        loaded = PeftModel.from_pretrained(base, str(folder))
    except KeyError as err:  # PEFT says no more than this of a missing row of added tokens
        raise RunError(f"{folder / ADAPTER} does not fit this run: it has no {err}.") from None
    with safe_open(folder / ADAPTER, framework="pt") as held:
        _compare(folder / ADAPTER, set(_adapter_state(loaded)), set(held.keys()))
    return loaded


def load_parts(backbone: Backbone, folder: Path) -> set[str]:
    """Read the parts that trained in full into the base, if there are any; return the names of their tensors.

    Raises:
        RunError: If a tensor has no place, or is missing: a part is whole.
    """
    if not (folder / PARTS).is_file():
        return set()
    held, base = load_file(folder / PARTS), dict(backbone.base.named_parameters())
    prefix = backbone.adapter.decoder_prefix(backbone.base)
    part = {name: backbone.adapter.part(name, prefix) for name in {*held, *base}}
    trained = {part[name] for name in held}
    _compare(folder / PARTS, {name for name in base if part[name] in trained}, set(held))
    for name, tensor in held.items():
        own = base[name].data
        base[name].data = own.to(tensor.dtype).copy_(tensor)  # what trained is at least float32, whatever the base is
    if not backbone.adapter.mixes_types:
        nn.Module.to(backbone.base, torch.promote_types(backbone.dtype, torch.float32))
    return set(held)


def read_origin(folder: Path) -> Origin:
    """Return which backbone a checkpoint belongs to.

    Raises:
        RunError: If the folder is not a checkpoint of a run, or what it says of itself is damaged.
    """
    path = folder / ORIGIN
    if not path.is_file():
        raise RunError(f"{folder} is not a checkpoint (it has no {ORIGIN}); give a run or one of its checkpoints.")
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        answering = read_answering({"inference": held.pop("inference", Plain().name), **held})
        for key in ("decoding", "opening"):
            held.pop(key, None)
        return Origin(**{**held, "added_tokens": tuple(held.get("added_tokens", ())), "answering": answering})
    except (ValueError, TypeError, AttributeError, KeyError) as err:
        raise RunError(f"{path} does not say which backbone its checkpoint belongs to: {err}.") from None


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


def answering_of(folder: Path) -> Answering:
    """Return how the model of a checkpoint or an exported folder answers; any other folder answers plainly."""
    return read_origin(folder).answering if is_checkpoint(folder) else read_inference(folder)


def is_checkpoint(folder: Path) -> bool:
    """Say whether a folder is a checkpoint of a run."""
    return (folder / ORIGIN).is_file()


def load_checkpoint(checkpoint: Path, *, dtype: str | torch.dtype | None = None) -> Backbone:
    """Return the backbone of a checkpoint with its trained weights; of the heads only the one of its latent steps.

    Args:
        checkpoint: The checkpoint's folder.
        dtype: Type of the weights; None for the run's own.

    Raises:
        RunError: If the folder is no checkpoint, or its adapter, added tokens or latent head do not fit the backbone.
    """
    origin = read_origin(checkpoint)
    backbone = load_backbone(
        origin.backbone,
        seed=origin.seed,
        dtype=dtype or origin.dtype,
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
        backbone.model = adapted.eval()
    elif not (checkpoint / PARTS).is_file():
        raise RunError(f"Checkpoint {checkpoint} has neither {ADAPTER} nor {PARTS}; it is incomplete.")
    load_parts(backbone, checkpoint)
    if origin.answering.head is not None:
        backbone.latent_head = load_latent_head(backbone, checkpoint, origin.answering.head)
    return backbone


def is_complete(folder: Path) -> bool:
    """Say whether a checkpoint can be resumed from: a process that is killed while it saves leaves files out or cut."""
    try:
        json.loads((folder / STATE).read_text(encoding="utf-8"))  # the Trainer writes it last
        trained = [name for name in (ADAPTER, PARTS) if (folder / name).is_file()]
        for name in (*(trained or [PARTS]), HEADS):
            with safe_open(folder / name, framework="pt"):  # compares the header with the file's length
                pass
    except (OSError, ValueError, SafetensorError):
        return False
    return all(zipfile.is_zipfile(folder / name) for name in PICKLED)


def write_inference(folder: Path, answering: Answering, head: nn.Module | None = None) -> None:
    """Write the file, unless the model answers by plain generation without a response prefix.

    Args:
        folder: The exported model's folder.
        answering: How the model answers.
        head: The head that latent steps pass through; its weights are written too.
    """
    if answering != Plain():
        (folder / INFERENCE).write_text(json.dumps(answering.record()) + "\n", encoding="utf-8")
    if head is not None:
        write_tensors(folder / LATENT_HEAD, head.state_dict(), {"format": "pt"})


def read_inference(folder: Path) -> Answering:
    """Return how the model of a folder answers.

    Raises:
        ExportError: If the file is there and does not say.
        UnknownNameError: If it names a way of answering that does not exist.
    """
    path = folder / INFERENCE
    if not path.is_file():
        return Plain()
    try:
        return read_answering(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ExportError(f'{path} must be {{"inference": NAME}}; export the run again.') from None


def load_exported(name: str, **loading: Any) -> Backbone:
    """Return a backbone, with the head of its latent steps if it is an exported folder with one.

    Args:
        name: As for ``load_backbone``.
        **loading: Further arguments of ``load_backbone``.

    Raises:
        ExportError: If the folder names a head whose weights are missing or do not fit.
        JepaVLMError: As ``load_backbone`` does.
    """
    backbone, folder = load_backbone(name, **loading), Path(name)
    described = read_inference(folder).head
    if described is not None:
        try:
            backbone.latent_head = head_with_weights(backbone, described, load_file(folder / LATENT_HEAD))
        except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError, UnknownNameError) as err:
            raise ExportError(
                f"{folder / LATENT_HEAD} must hold the weights of {described}, which {INFERENCE} names: {err}. "
                "Export the run again."
            ) from None
    return backbone


def head_with_weights(backbone: Backbone, described: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Head:
    """Return a head of a backbone's size, of the same type as in training.

    Raises:
        JepaVLMError, ValueError, KeyError, TypeError, RuntimeError: If description, weights and size do not fit.
    """
    head = build_head(described)
    head.setup(backbone.dim, torch.Generator())
    head.load_state_dict(dict(tensors))
    return head.to(torch.promote_types(backbone.base.dtype, torch.float32))


def _own_state(model: LatentVLM) -> dict[str, Tensor]:
    """Return every tensor of the model that does not belong to the backbone: the objective's, and averaged targets."""
    return {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("model.")}


def _adapter_state(model: PeftModel) -> dict[str, Tensor]:
    """Return the adapter's tensors alone; left to itself, PEFT asks the hub whether the vocabulary has grown."""
    state: dict[str, Tensor] = get_peft_model_state_dict(model, save_embedding_layers=False)
    return state


def _trained_in_full(backbone: Backbone) -> dict[str, Tensor]:
    named = backbone.base.named_parameters()
    return {name: p for name, p in named if p.requires_grad and not belongs_to_adapter(name)}


def _compare(path: Path, expected: set[str], held: set[str]) -> None:
    if expected != held:
        odd = sorted(expected ^ held)
        raise RunError(
            f"{path} does not fit this run: {len(odd)} tensors differ, {odd[0]!r} first; "
            "was it made by another recipe or backbone?"
        )
