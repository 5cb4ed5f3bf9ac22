"""An export's files: the base's own, with as few changes as the run made necessary.

Weights are the base's safetensors files with other numbers, each tensor in the type that it has there. transformers 5
would write the other files anew, in a form that transformers 4 misreads: another rotary base, a fresh head.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any, final

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import AutoConfig, PreTrainedModel
from transformers.core_model_loading import revert_weight_conversion

from jepa_vlm.adapters import Backbone
from jepa_vlm.adapters.base_folder import CONFIG, INDEX, kept_files, weight_files
from jepa_vlm.adapters.digests import without_provenance
from jepa_vlm.adapters.processors import load_processor
from jepa_vlm.errors import ExportError
from jepa_vlm.whole_files import write_tensors

FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


@final
@dataclass(frozen=True)
class Written:
    """The tensors of a base as an export holds them.

    Args:
        types: Number of tensors of each type.
        changed: Names, in the model, of the tensors that are no longer the base's.
        unread: Names, in the files, of the tensors that the model does not read, such as heads for speculative
            decoding; they are the base's.
        added: Bytes by which the tensors grew.
        in_place: Whether the model now holds every number as it was written.
    """

    types: Mapping[str, int]
    changed: frozenset[str]
    unread: tuple[str, ...]
    added: int
    in_place: bool


def stored_type(base: Path) -> torch.dtype:
    """Return the smallest type that holds the numbers of a base's matrices exactly.

    Vectors do not count: some bases have a few of a wider type, for which the whole model would be loaded in it.
    """
    kinds: set[str] = set()
    for file in weight_files(base):
        with safe_open(base / file, framework="pt") as held:
            slices = [held.get_slice(key) for key in held.keys()]  # noqa: SIM118
            kinds |= {one.get_dtype() for one in slices if len(one.get_shape()) > 1}
    return reduce(torch.promote_types, (FLOATS[kind] for kind in kinds & FLOATS.keys()))


@torch.no_grad()
def write_weights(model: PreTrainedModel, base: Path, draft: Path, *, run: torch.dtype, grown: bool) -> Written:
    """Write a model's numbers under the names, in the files and in the types in which its base has them.

    Each number is rounded once, to the base's type, and the model then holds what was written.

    Args:
        model: A model of the same architecture; transformers may have given its tensors other names.
        base: Folder with the base's safetensors files.
        draft: Folder that is written.
        run: Type in which the run held what did not train: a tensor that is the base's in this type stays the base's.
        grown: Whether tensors may have more rows than the base's.

    Raises:
        ExportError: If a tensor has no place in the base's files, or does not fit there.
    """
    state = model.state_dict()
    names = {_storage(tensor): name for name, tensor in reversed(state.items())}  # the first name of tied tensors
    live = revert_weight_conversion(model, state)
    types, changed, unread, added = Counter[str](), set[str](), list[str](), 0
    places = {_storage(buffer) for buffer in model.buffers()}  # older files leave them out
    for file in weight_files(base):
        with safe_open(base / file, framework="pt") as held:
            tensors = {key: held.get_tensor(key) for key in held.keys()}  # noqa: SIM118
            metadata = held.metadata()
        for key, stored in tensors.items():
            types[str(stored.dtype).removeprefix("torch.")] += 1
            if key not in live:
                unread.append(key)
                continue
            places.add(_storage(live[key]))
            tensors[key] = _rounded(key, live[key], stored, run=run, grown=grown)
            if not torch.equal(tensors[key], stored):
                changed.add(key)
                added += tensors[key].nbytes - stored.nbytes
        write_tensors(draft / file, tensors, metadata)
    if lost := sorted(key for key, tensor in live.items() if _storage(tensor) not in places):
        raise ExportError(f"The base's files have no place for {len(lost)} of the model's tensors, {lost[0]} first.")
    within = {key: names.get(_storage(live[key])) for key in changed}
    known = frozenset(name or key for key, name in within.items())
    return Written(dict(types), known, tuple(unread), added, in_place=None not in within.values())


def _rounded(key: str, live: Tensor, stored: Tensor, *, run: torch.dtype, grown: bool) -> Tensor:
    """Return a tensor as the base's file holds it, and round the model's own likewise."""
    if live.ndim > 1 and live.shape != stored.shape == live.mT.shape:
        live = live.mT  # transformers turns the experts of some models around, and does not turn them back
    if live.shape != stored.shape and not (grown and live.shape[1:] == stored.shape[1:] and len(live) > len(stored)):
        raise ExportError(f"{key} has the shape {tuple(live.shape)}, in the base's files {tuple(stored.shape)}.")
    same = any(torch.equal(live, stored.to(held).to(live.dtype)) for held in (live.dtype, run))
    rounded = stored if same else live.to(stored.dtype, copy=True)
    if not torch.isfinite(rounded).all() and torch.isfinite(live).all():
        raise ExportError(
            f"{key} has numbers beyond {stored.dtype}, in which the base stores it; nothing was exported."
        )
    live.copy_(rounded)
    return rounded


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


TOKENIZER, TOKENIZER_CONFIG, OLD_TOKENS = "tokenizer.json", "tokenizer_config.json", "added_tokens.json"
IMAGES, PROCESSOR = "preprocessor_config.json", "processor_config.json"
TEMPLATE, TEMPLATES = "chat_template.jinja", "additional_chat_templates/"
Changes = Mapping[str, Mapping[str, Any]]  # a value's path in the file, to the value before and after


@final
@dataclass(frozen=True)
class Copied:
    """The files of a base as an export holds them.

    Args:
        files: Files that are the base's, or the base's with changes.
        changed: Changes by file.
        left_out: Files of the base that were not copied: code, its model card, and whatever is not known.
    """

    files: tuple[str, ...]
    changed: Mapping[str, Changes]
    left_out: tuple[str, ...]


def copy_files(base: Path, draft: Path, backbone: Backbone, *, added: int) -> Copied:
    """Copy the base's files, weights apart, and change in them what the run changed in the loaded model.

    These are the size of the vocabulary, added tokens, the limit on an image's tokens, and a chat template where the
    base has none. ``auto_map``, which names code, is dropped.

    Args:
        base: See ``base_folder``.
        draft: A new folder, which is made.
        backbone: The trained backbone, with or without its adapter.
        added: Bytes by which the weights grew, for their index.

    Raises:
        ExportError: See ``kept_files``.
    """
    files, needed = list(kept_files(base)), _needed(base, backbone)
    changed: dict[str, Changes] = {}
    for name in files:
        to = draft / name
        to.parent.mkdir(parents=True, exist_ok=True)
        held = json.loads((base / name).read_text(encoding="utf-8")) if name.endswith(".json") else None
        new = _edited(name, deepcopy(held), needed, added) if isinstance(held, dict) else held
        if new == held:
            shutil.copyfile(base / name, to)  # without its mode: the umask decides
        else:
            text = json.dumps(new, indent=2, ensure_ascii=False)
            to.write_text(text + "\n", encoding="utf-8")
            changed[name] = differences(held, json.loads(text))
    if needed.template and TEMPLATE not in files:
        (draft / TEMPLATE).write_text(needed.template, encoding="utf-8")
        files.append(TEMPLATE)
        changed[TEMPLATE] = {"": {"to": needed.template}}
    if (left := _needed(draft, backbone)) != _Needed(every=left.every):
        raise ExportError(f"The export's files do not say what the run changed: {left}; the base's are {files}.")
    present = {f"{path.name}/" if path.is_dir() else path.name for path in base.iterdir()}
    left_out = present - {*files, *weight_files(base), TEMPLATES}
    return Copied(tuple(files), changed, tuple(sorted(left_out)))


def check_files(base: Path, draft: Path, copied: Copied) -> None:
    """Read the files back: they must be the base's, but for the changes that are listed, and no others.

    Raises:
        ExportError: If they are not.
    """
    present = {path.relative_to(draft).as_posix() for path in draft.rglob("*") if path.is_file()}
    if odd := present ^ {*copied.files, *weight_files(base)}:
        raise ExportError(f"The export and the base do not have the same files: {', '.join(sorted(odd))}.")
    for name in copied.files:
        listed, old, new = copied.changed.get(name, {}), base / name, draft / name
        if not old.is_file():
            found: Changes = {"": {"to": new.read_text(encoding="utf-8")}}
        elif old.read_bytes() == new.read_bytes():
            found = {}
        elif name.endswith(".json"):
            found = differences(*(json.loads(path.read_text(encoding="utf-8")) for path in (old, new)))
        else:
            found = {"": {}}
        if found != listed:
            raise ExportError(f"{name} must be the base's but for {dict(listed)}; it differs by {dict(found)}.")


def differences(old: Any, new: Any, path: str = "") -> Changes:
    """Return where two JSON values differ, by the dotted path: ``{"a.b": {"from": 1, "to": 2}}``.

    Values that one side lacks have no ``from`` or no ``to``. Of a list that has only grown, the new entries are named.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        pairs = [(key, *(side.get(key, ...) for side in (old, new))) for key in dict.fromkeys((*old, *new))]
    elif isinstance(old, list) and isinstance(new, list) and old != new and new[: len(old)] == old:
        pairs = [(str(i), ..., value) for i, value in enumerate(new) if i >= len(old)]
    else:
        sides = {"from": old, "to": new}
        return {} if old == new else {path: {side: value for side, value in sides.items() if value is not ...}}
    found: dict[str, Mapping[str, Any]] = {}
    for key, before, after in pairs:
        found.update(differences(before, after, f"{path}.{key}" if path else key))
    return found


@final
@dataclass(frozen=True)
class _Needed:
    """Values of the run's model that a folder's files do not have.

    Args:
        config: Values of the configuration.
        images: Settings of the image processor.
        tokens: Added tokens by identifier, as a tokenizer's files state them.
        every: All added tokens, where the folder has no tokenizer.json, which would hold the base's.
        template: The chat template, where the folder has none.
    """

    config: Changes = field(default_factory=dict)
    images: Mapping[str, Any] = field(default_factory=dict)
    tokens: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    every: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    template: str | None = None


def _needed(folder: Path, backbone: Backbone) -> _Needed:
    own = load_processor(str(folder))
    config, live = (
        without_provenance(c.to_dict()) for c in (AutoConfig.from_pretrained(folder), backbone.adapter.config)
    )
    images = [json.loads(json.dumps(p.image_processor.to_dict(), default=str)) for p in (own, backbone.processor)]
    every = {number: token.__getstate__() for number, token in sorted(backbone.tokenizer.added_tokens_decoder.items())}
    known = own.tokenizer.get_vocab()
    return _Needed(
        config=differences(config, live),
        images={name: value for name, value in images[1].items() if images[0].get(name) != value},
        tokens={number: token for number, token in every.items() if token["content"] not in known},
        every={} if (folder / TOKENIZER).is_file() else every,
        template=None if own.chat_template else backbone.processor.chat_template,
    )


def _edited(name: str, held: dict[str, Any], needed: _Needed, added: int) -> dict[str, Any]:
    """Return a JSON file's object with what is needed; ``auto_map`` names code, which is not copied."""
    held.pop("auto_map", None)
    tokens = {str(number): token for number, token in needed.tokens.items()}
    if name == CONFIG:
        _set_config(held, needed.config)
    elif name == INDEX:
        held["metadata"]["total_size"] += added
    elif name == IMAGES:
        _set_images(held, needed.images)
    elif name == PROCESSOR and "image_processor" in held:
        _set_images(held["image_processor"], needed.images)
    elif name == TOKENIZER:
        held["added_tokens"].extend({"id": number, **token} for number, token in needed.tokens.items())
    elif name == OLD_TOKENS:
        held.update({token["content"]: number for number, token in needed.tokens.items()})
    elif name == TOKENIZER_CONFIG and tokens and ("added_tokens_decoder" in held or needed.every):
        decoder = held.setdefault("added_tokens_decoder", {str(n): token for n, token in needed.every.items()})
        decoder.update(tokens)
    return held


def _set_images(held: dict[str, Any], images: Mapping[str, Any]) -> None:
    held.update(images)
    if "size" in images and str(held.get("image_processor_type")).startswith("Qwen2VL"):
        size = images["size"]  # transformers 4 reads the pixels beside it instead
        held.update(min_pixels=size["shortest_edge"], max_pixels=size["longest_edge"])


def _set_config(held: dict[str, Any], changes: Changes) -> None:
    """Set values where the file has them: older files state the decoder's on the top, and some state them twice."""
    for path, change in changes.items():
        part, _, name = path.rpartition(".")
        held.get(part, held)[name] = change["to"]
        if held.get(name) == change.get("from"):
            held[name] = change["to"]
