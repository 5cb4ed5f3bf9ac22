"""Which stores an objective reads, and how a view is found in them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from jepa_vlm.adapters import Backbone
from jepa_vlm.adapters.digests import state_digests
from jepa_vlm.serialization.serializer import Serializer
from jepa_vlm.serialization.target_store import TargetStore
from jepa_vlm.trajectories import Trajectory
from jepa_vlm.views import Request, TokenizedView


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
