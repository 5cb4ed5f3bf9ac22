"""Target states that were computed once, on disk: one latent for each example, found by what it was computed from.

    store.json              what all of them depend on, and whether the store is complete
    targets-*.safetensors   ``digests`` ("rows 32", bytes) and ``latents`` ("rows dim")
Every file is written under another name and moved into place, so that a killed process leaves whole files only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import torch
from safetensors import SafetensorError, safe_open

from jepa_vlm.adapters import Backbone
from jepa_vlm.adapters.digests import state_digests
from jepa_vlm.errors import DataError, RunError
from jepa_vlm.serialization.serializer import Serializer
from jepa_vlm.trajectories import Trajectory
from jepa_vlm.typing import Latent, shape_checked
from jepa_vlm.views import Request, TokenizedView
from jepa_vlm.whole_files import PART, write_tensors, write_whole

STORE, SHARDS = "store.json", "targets-*.safetensors"


@final
class TargetStore:
    """The stored targets of one view, read at one place, under one model. Picklable: it holds a path and a key.

    Args:
        folder: Where it is, or will be.
        key: What the states depend on, by name; a store of another key is refused.
    """

    def __init__(self, *, folder: Path, key: Mapping[str, str]) -> None:
        self.folder, self.key = folder, dict(key)
        self._places: dict[bytes, tuple[Path, int]] | None = None
        self._open: dict[Path, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "key": self.key, "_places": None, "_open": {}}

    def __len__(self) -> int:
        return len(self._index())

    def is_complete(self) -> bool:
        """Say whether everything that was to be stored is; False for a folder that is not there yet.

        Raises:
            RunError: If the folder holds targets of another key, or something else.
        """
        path = self.folder / STORE
        if not path.is_file():
            if self.folder.exists() and not (
                self.folder.is_dir() and all(p.suffix == PART for p in self.folder.iterdir())
            ):
                raise RunError(f"{self.folder} is not empty and holds no targets (no {STORE}); give another folder.")
            return False
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
            stored, complete = dict(held["key"]), bool(held["complete"])
        except (ValueError, KeyError, TypeError):
            raise RunError(f"{path} is damaged; delete {self.folder}, and the targets are computed anew.") from None
        if stored != self.key:
            names = [name for name in {**stored, **self.key} if stored.get(name) != self.key.get(name)]
            sides = "; ".join(f"{name}: stored {stored.get(name)}, asked {self.key.get(name)}" for name in names)
            raise RunError(
                f"The targets in {self.folder} are of another making. {sides}. Give another folder, or delete this one "
                "to have them computed anew."
            )
        return complete

    def missing(self, digests: Sequence[bytes]) -> list[int]:
        """Return the numbers of the digests that are not stored, of equal ones the first."""
        known, self._places = self._index(), None  # more will come, from other processes too
        first = {digest: number for number, digest in reversed(list(enumerate(digests)))}
        return sorted(number for digest, number in first.items() if digest not in known)

    def read(self, digests: Sequence[bytes], ids: Sequence[str]) -> Latent:
        """Return the stored latents.

        Args:
            digests: What each was computed from; see ``stored_targets.target_digest``.
            ids: Names of the trajectories, for messages.

        Raises:
            DataError: If one is not stored.
            RunError: If the store is not complete, or not of this key.
        """
        if self._places is None and not self.is_complete():
            raise RunError(
                f"The targets in {self.folder} are not computed yet, or not all; jv.train does it when it begins, "
                "in Python jv.fill_targets(model, trajectories)."
            )
        self.refuse_missing(digests, ids)
        places = [self._index()[digest] for digest in digests]
        return torch.cat([self._shard(path).get_slice("latents")[row : row + 1] for path, row in places])

    def refuse_missing(self, digests: Sequence[bytes], ids: Sequence[str]) -> None:
        """Check that every example is stored.

        Raises:
            DataError: If one is not; says how many, and which comes first.
        """
        if lost := [name for name, digest in zip(ids, digests, strict=True) if digest not in self._index()]:
            raise DataError(
                f"{len(lost)} of {len(ids)} trajectories have no target in {self.folder}, {lost[0]!r} first. They were "
                "added or changed since it was filled; give a new folder, or delete this one to have it filled anew."
            )

    def begin(self) -> None:
        """Make the folder, if it is not there."""
        if not (self.folder / STORE).is_file():
            self._mark(complete=False)

    @shape_checked
    def add(self, digests: Sequence[bytes], latents: Latent) -> None:
        """Write some targets into a file of their own."""
        name = hashlib.sha256(b"".join(digests)).hexdigest()[:16]
        rows = torch.tensor([list(digest) for digest in digests], dtype=torch.uint8)
        tensors = {"digests": rows, "latents": latents}
        write_tensors(self.folder / SHARDS.replace("*", name), tensors, {"key": self._key_digest()})
        self._places = None

    def finish(self) -> None:
        """Say that everything is stored."""
        self._mark(complete=True)

    def _mark(self, *, complete: bool) -> None:
        write_whole(self.folder / STORE, json.dumps({"complete": complete, "key": self.key}, indent=1) + "\n")

    def _key_digest(self) -> str:
        return hashlib.sha256(json.dumps(self.key, sort_keys=True).encode()).hexdigest()

    def _index(self) -> dict[bytes, tuple[Path, int]]:
        if self._places is None:
            found: dict[bytes, tuple[Path, int]] = {}
            for path in sorted(self.folder.glob(SHARDS)):
                rows = self._shard(path).get_tensor("digests").numpy()
                found.update({row.tobytes(): (path, number) for number, row in enumerate(rows)})
            self._places = found
        return self._places

    def _shard(self, path: Path) -> Any:
        if path not in self._open:
            try:
                shard: Any = safe_open(path, framework="pt")
                key = (shard.metadata() or {}).get("key")
            except (OSError, SafetensorError) as err:
                raise RunError(f"{path} cannot be read ({err}); delete {self.folder}.") from None
            if key != self._key_digest():
                raise RunError(f"{path} belongs to other targets than {self.folder / STORE}; delete {self.folder}.")
            self._open[path] = shard
        return self._open[path]


def target_stores(backbone: Backbone, requests: Sequence[Request]) -> dict[Request, TargetStore]:
    """Return the store of each request with a ``cached`` policy, keyed by the backbone as it is now.

    Raises:
        ValueError: If one folder is to hold two targets.
    """
    asked = [request for request in requests if request.policy.is_cached]
    made = state_digests(backbone) if asked else {}
    stores: dict[Request, TargetStore] = {}
    for request in asked:
        if not request.reads_one or request.slots is not None:
            raise ValueError("A cached view is stored as one state per example, without learned slots.")
        folder = Path(request.policy.folder).expanduser()
        for other, store in stores.items():
            if store.folder.resolve() == folder.resolve():
                raise ValueError(
                    f"A folder holds one cached target, but {folder} is to hold {other.view} at {other.at!r} and "
                    f"{request.view} at {request.at!r}; give each a folder."
                )
        key = {**made, "view": str(request.view), "readout": request.at}
        stores[request] = TargetStore(folder=folder, key=key)
    return stores


def target_digest(view: TokenizedView, trajectory: Trajectory) -> bytes:
    """Return a digest of all that a view's states and readouts depend on, beside the model: tokens, positions, images.

    Raises:
        DataError: If an image is missing or unreadable.
    """
    digest = hashlib.sha256()
    for tensor in (view.input_ids, view.positions, view.image_rows, view.content):
        digest.update(f"{tuple(tensor.shape)} ".encode() + tensor.contiguous().numpy().tobytes())
    digest.update(repr(sorted(view.readouts.items())).encode())
    for image in view.images:
        digest.update(trajectory.all_images[image].digest())
    return digest.digest()


def target_digests(serializer: Serializer, encoding: Request, trajectories: Sequence[Trajectory]) -> list[bytes]:
    """Return the digest of each trajectory's view, from texts, image headers and the images' files."""
    return [target_digest(serializer.views(trajectory, (encoding,))[0], trajectory) for trajectory in trajectories]
