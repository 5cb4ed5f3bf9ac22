"""An export's files beside its weights: the base's own, copied, with as few changes as the run made necessary.

transformers 5 would write them anew, in a form that transformers 4 misreads: another rotary base, a fresh head.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from transformers import AutoConfig

from jepa_vlm.adapters import Backbone
from jepa_vlm.adapters.base_folder import CONFIG, INDEX, kept_files, weight_files
from jepa_vlm.adapters.digests import without_provenance
from jepa_vlm.adapters.processors import load_processor
from jepa_vlm.errors import ExportError

TOKENIZER, TOKENIZER_CONFIG, OLD_TOKENS = "tokenizer.json", "tokenizer_config.json", "added_tokens.json"
IMAGES, PROCESSOR = "preprocessor_config.json", "processor_config.json"
TEMPLATE, TEMPLATES = "chat_template.jinja", "additional_chat_templates/"
Changes = Mapping[str, Mapping[str, Any]]  # by the path of a value in the file: its value before and after


@final
@dataclass(frozen=True)
class Copied:
    """What an export took over from the base.

    Args:
        files: That are the base's, or the base's with changes.
        changed: By file: what had to change.
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
        backbone: As it was trained, with or without its adapter.
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
    """What the run's model has that a folder does not say.

    Args:
        config: Of the configuration.
        images: Settings of the image processor.
        tokens: By identifier, as a tokenizer's files state them.
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
        size = images["size"]  # of which transformers 4 reads nothing, but the pixels beside it
        held.update(min_pixels=size["shortest_edge"], max_pixels=size["longest_edge"])


def _set_config(held: dict[str, Any], changes: Changes) -> None:
    """Set values where the file has them: older files state the decoder's on the top, and some state them twice."""
    for path, change in changes.items():
        part, _, name = path.rpartition(".")
        held.get(part, held)[name] = change["to"]
        if held.get(name) == change.get("from"):
            held[name] = change["to"]
