"""Computes the targets of ``cached`` policies, once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, final

import torch
from accelerate.utils import send_to_device
from peft import PeftModel
from torch.utils.data import DataLoader

from jepa_vlm.adapters.digests import weights_digest
from jepa_vlm.errors import RunError
from jepa_vlm.generation.greedy import inference
from jepa_vlm.latent_vlm import LatentVLM
from jepa_vlm.serialization import TargetStore
from jepa_vlm.serialization.target_store import target_digests
from jepa_vlm.states import States
from jepa_vlm.terms import Denominator, Term, TermValue
from jepa_vlm.trajectories import Trajectory
from jepa_vlm.views import Request, frozen, stop_gradient

SHARD = 1024  # targets in a file: what an interrupted run loses at most


def fill_targets(
    model: LatentVLM,
    trajectories: Sequence[Trajectory],
    *,
    batch_size: int = 8,
    workers: int = 0,
    tell: Callable[[str], None] = lambda said: None,
) -> None:
    """Store every cached target that a model asks for; if all are stored already, only check that.

    What an interrupted call has stored is kept, and the next one goes on behind it. Under torchrun every process calls
    it and computes its share.

    Args:
        model: As it will be trained: the states are those of its base weights.
        trajectories: All that it will see, those held out included.
        batch_size: Trajectories encoded at once.
        workers: Processes that load data.
        tell: Called with a line of text now and then.

    Raises:
        RunError: If a folder holds other targets, or the base weights have been trained since the model was built.
        DataError: If a store is complete, but a trajectory is not in it.
        ValueError: If there is no trajectory.
    """
    if not trajectories:
        raise ValueError("Targets are computed for at least one trajectory, got none.")
    unfilled: dict[Request, list[bytes]] = {}
    for request, store in model.target_stores.items():
        complete = store.is_complete()
        digests = _digests(model, request, trajectories, workers)
        if complete:
            store.refuse_missing(digests, [trajectory.id for trajectory in trajectories])
        else:
            unfilled[request] = digests
    known = {model.target_stores[request].key["weights"] for request in unfilled}
    if known and known != {weights_digest(model.backbone.base)}:
        raise RunError("The base weights have been trained since the model was built; cached targets come first.")
    for request, digests in unfilled.items():
        fill_store(model, request, digests, trajectories, batch_size=batch_size, workers=workers, tell=tell)


def fill_store(
    model: LatentVLM,
    request: Request,
    digests: Sequence[bytes],
    trajectories: Sequence[Trajectory],
    *,
    batch_size: int = 8,
    workers: int = 0,
    tell: Callable[[str], None] = lambda said: None,
) -> None:
    """Store one cached target of a model whose base weights are those that it was built with, which is not checked.

    Args:
        model, trajectories, batch_size, workers, tell: As for ``fill_targets``.
        request: What is stored.
        digests: Of each trajectory's view.
    """
    store = model.target_stores[request]
    rank, processes = _place()
    if rank == 0:
        store.begin()
    missing = store.missing(digests)
    _wait()
    share = [(digests[number], number) for number in missing[rank::processes]]
    for done in _compute(model, request, store, trajectories, share, batch_size=batch_size, workers=workers):
        tell(f"computing targets {min(done * processes, len(missing))}/{len(missing)} into {store.folder}")
    _wait()
    if rank == 0:
        store.finish()
    _wait()


def _compute(
    model: LatentVLM,
    request: Request,
    store: TargetStore,
    trajectories: Sequence[Trajectory],
    share: Sequence[tuple[bytes, int]],
    *,
    batch_size: int,
    workers: int,
) -> Iterator[int]:
    """Encode and store, file by file; yield how many are done."""
    policy = frozen() if isinstance(model.backbone.model, PeftModel) else stop_gradient()
    reader = LatentVLM(model.backbone, _Read(replace(request, policy=policy)), engine=model.engine)
    for start in range(0, len(share), SHARD):
        shard = share[start : start + SHARD]
        loader: DataLoader[Any] = DataLoader(
            [trajectories[number] for _, number in shard],  # type: ignore[arg-type]
            batch_size=batch_size,
            collate_fn=reader.collator(),
            num_workers=workers,
            generator=torch.Generator(),
        )
        with inference(reader):
            found = [reader(send_to_device(batch, reader.device)).latents[_Read.name][1].cpu() for batch in loader]
        store.add([digest for digest, _ in shard], torch.cat(found))
        yield start + len(shard)


@final
class _Read(Term):
    """A term that only reads one latent of each example."""

    name = "read"

    def __init__(self, request: Request) -> None:
        super().__init__()
        self._request = request

    def requests(self) -> tuple[Request, ...]:
        return (self._request,)

    def denominator(self) -> Denominator:
        return Denominator("examples")

    def forward(self, states: States) -> TermValue:
        latent = states.latents[self._request]
        return TermValue(latent.new_zeros(()), predicted=latent, target=latent)


def _digests(model: LatentVLM, request: Request, trajectories: Sequence[Trajectory], workers: int) -> list[bytes]:
    loader: DataLoader[list[bytes]] = DataLoader(
        trajectories,  # type: ignore[arg-type]
        batch_size=64,
        collate_fn=partial(target_digests, model.collator().serializer, request.encoding),
        num_workers=workers,
        generator=torch.Generator(),
    )
    return [digest for found in loader for digest in found]


def _place() -> tuple[int, int]:
    """Return this process's number, and how many there are."""
    if not torch.distributed.is_initialized():
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def _wait() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
