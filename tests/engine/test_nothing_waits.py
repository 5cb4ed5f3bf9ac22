"""A step reads nothing off the device and sends nothing to it: its batch holds all that the host must know.

The meta device stands for the GPU: a tensor there has no values, so whatever would wait for them raises.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from accelerate.utils import send_to_device
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import jepa_vlm as jv
from jepa_vlm.engine import Batch, attention
from jepa_vlm.latent_vlm import LatentVLM
from tests.factories import lora_backbone, pearl_objective, random_batch

# With a size or a value that only the device knows; some have a meta form, which guesses.
WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "repeat_interleave", "unique", "is_nonzero", "equal")
COPIES = ("_to_copy", "copy_")


class Waits(TorchDispatchMode):
    """Lists the operators that make the host wait for the device, and the copies between them."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = operator.overloadpacket.__name__
        given = [t for t in torch.utils._pytree.tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        if any(t.is_meta for t in given) and name in WAITING:
            self.seen.append(name)
        found = operator(*args, **(kwargs or {}))
        made = [t for t in torch.utils._pytree.tree_leaves(found) if isinstance(t, Tensor)]
        waits = name in COPIES and not (kwargs or {}).get("non_blocking", False)
        if waits and len({t.device.type for t in (*given, *made)}) > 1:
            self.seen.append(f"{name} between devices")
        return found


def step(objective: jv.Objective, change: Callable[[dict[str, Any]], None] = lambda batch: None) -> list[str]:
    """Run one step forward and backward on the meta device, and return what waited."""
    model = LatentVLM(lora_backbone(torch.bfloat16), objective)
    batch = model.collator()(random_batch(0))
    change(batch)
    model.to("meta")
    batch = send_to_device(batch, "meta")
    with Waits() as waits:
        model(batch).total.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    return waits.seen


def with_target(policy: Any, readout: str = "last_token", loss: Any = None) -> jv.Objective:
    term = jv.LatentPrediction(
        context=jv.ViewEncoder(jv.views.Question(), readout="mean"),
        predictor=jv.MLPPredictor(),
        target=jv.ViewEncoder(jv.views.TrajectoryOnly(context="image"), readout=readout, policy=policy),
        loss=loss,
    )
    return jv.NextToken() + term


OBJECTIVES: dict[str, Callable[[], Any]] = {
    "pearl": lambda: pearl_objective(horizon=2),
    "gradient through both": lambda: with_target(jv.with_gradient(), loss=jv.CosineLoss()),
    "frozen": lambda: with_target(jv.frozen(), "mean", jv.InfoNCELoss()),
    "ema": lambda: with_target(jv.ema(0.9), "turn_end"),
    "next latent": lambda: 1.0 * jv.NextLatentRegularizer(positions="supervised", horizon=3, kl_weight=0.5),
}


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("kernel", [False, True], ids=["segments", "kernel"])
def test_a_training_step_never_synchronises_with_the_device(
    name: str, kernel: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "kernel_runs", lambda query, dropout: kernel)
    assert step(OBJECTIVES[name]()) == []


def test_running_an_accumulation_window_ahead_never_synchronises_with_the_device() -> None:
    model = LatentVLM(lora_backbone(torch.bfloat16), pearl_objective())
    batches = [model.collator()(random_batch(seed)) for seed in (0, 1)]
    model.to("meta")
    batches = [send_to_device(batch, "meta") for batch in batches]
    with Waits() as waits:
        for batch in model.run_ahead(batches):
            assert batch.ahead is not None
            model(batch).total.backward()
    assert waits.seen == []


def test_planted_lengths_on_the_device_are_detected() -> None:
    def forget(batch: Batch) -> None:
        del batch.images["image_max_seqlen"]

    with pytest.raises(RuntimeError, match=r"item\(\) cannot be called on meta tensors"):
        step(pearl_objective(), forget)


def test_a_planted_mask_instead_of_an_index_is_detected() -> None:
    def by_mask(batch: Batch) -> None:
        request, read = next(iter(batch.reads.items()))
        mask = torch.zeros(len(batch.sequences[read.sequence]), dtype=torch.bool).index_fill(0, read.index, True)
        batch.reads[request] = replace(read, index=mask)

    with pytest.raises(Exception, match="nonzero"):
        step(pearl_objective(), by_mask)


def test_a_planted_tensor_from_the_host_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    stock = jv.LatentPrediction.forward

    def weighted(self: Any, states: Any) -> Any:
        value = stock(self, states)
        sent = torch.tensor([1.0, 2.0]).to(value.total.device)
        return type(value)(value.total * sent.sum())

    monkeypatch.setattr(jv.LatentPrediction, "forward", weighted)
    assert step(pearl_objective()) == ["_to_copy between devices"]
