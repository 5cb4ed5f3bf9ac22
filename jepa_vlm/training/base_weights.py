"""An export's weights: the base's own safetensors files with other numbers, each tensor in the type it has there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import final

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import PreTrainedModel
from transformers.core_model_loading import revert_weight_conversion

from jepa_vlm.adapters.base_folder import weight_files
from jepa_vlm.errors import ExportError
from jepa_vlm.whole_files import write_tensors

FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


@final
@dataclass(frozen=True)
class Written:
    """What became of a base's tensors.

    Args:
        types: How many have which type.
        changed: Names, in the model, of those that are no longer the base's.
        unread: Names, in the files, of those that the model does not read, such as heads for speculative decoding; they
            are the base's.
        added: Bytes by which they grew.
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
        draft: Where to.
        run: Type in which the run held what did not train: a tensor that is the base's in this type stays the base's.
        grown: Whether tensors may have more rows than the base's.

    Raises:
        ExportError: If a tensor has no place in the base's files, or does not fit there.
    """
    state = model.state_dict()
    names = {_storage(tensor): name for name, tensor in reversed(state.items())}  # of tied ones, the first
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
