"""Budgets of a step besides arithmetic: operator calls, and bytes saved for the backward pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import jepa_vlm as jv
from jepa_vlm.latent_vlm import LatentVLM
from tests.factories import lora_backbone, pearl_objective, random_trajectory


class Calls(TorchDispatchMode):
    """Counts the operators that launch work; views do not."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += not operator.is_view
        return operator(*args, **(kwargs or {}))


class Saved:
    """Adds up what is kept for the backward pass, weights aside and every storage once."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._seen = {p.untyped_storage()._cdata for p in (*model.parameters(), *model.buffers())}
        self._kept: list[Tensor] = []  # so that no storage takes the address of another
        self.bytes = 0

    def hooks(self) -> torch.autograd.graph.saved_tensors_hooks:
        return torch.autograd.graph.saved_tensors_hooks(self._keep, lambda tensor: tensor)

    def _keep(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._seen:
            self._seen.add(storage._cdata)
            self._kept.append(tensor)
            self.bytes += storage.nbytes()
        return tensor


def cost(objective: Any, *, checkpointing: bool = False) -> tuple[int, float]:
    """Return the calls of a step on four trajectories, and the kilobytes saved for each token of the longer row."""
    model = LatentVLM(lora_backbone(), objective)
    if checkpointing:
        model.activation_checkpointing_enable()
    generator = torch.Generator().manual_seed(0)
    batch = model.collator()([random_trajectory(generator, str(calls), calls=calls) for calls in range(4)])
    calls, saved = Calls(), Saved(model)
    with calls, saved.hooks():
        total = model(batch).total
    with calls:
        total.backward()
    return calls.count, saved.bytes / len(batch.sequences["gradient"].input_ids) / 1024


STEPS = {"sft": lambda: 1.0 * jv.NextToken(), "pearl": pearl_objective}
BUDGETS = {
    # step, checkpointing: calls, saved kilobytes a token. A change that saves lowers them.
    ("sft", False): (1040, 42.0),
    ("sft", True): (1370, 2.6),
    ("pearl", False): (1780, 43.5),
    ("pearl", True): (2240, 3.3),
}


@pytest.mark.parametrize(("step", "checkpointing"), BUDGETS)
def test_a_step_stays_within_its_budget_of_calls_and_memory(step: str, checkpointing: bool) -> None:
    calls, saved = cost(STEPS[step](), checkpointing=checkpointing)
    most_calls, most_saved = BUDGETS[step, checkpointing]
    assert 0.9 * most_calls < calls <= most_calls
    assert 0.9 * most_saved < saved <= most_saved


def test_pearl_keeps_few_more_activations_than_sft() -> None:
    (_, sft), (_, pearl) = (cost(STEPS[step]()) for step in ("sft", "pearl"))
    assert pearl <= 1.06 * sft
