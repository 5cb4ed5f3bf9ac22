"""The engines on a GPU."""

from __future__ import annotations

import pytest
import torch
from accelerate.utils import send_to_device

from jepa_vlm.engine import attention
from jepa_vlm.latent_vlm import LatentVLM
from tests.factories import back_propagated, lora_backbone, pearl_objective, random_batch

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU, and torch sees none"),
]


@pytest.mark.parametrize("seed", range(3))
def test_one_pass_equals_separate(seed: int, pure_float64: None) -> None:
    backbone = lora_backbone(torch.float64)
    torch.nn.Module.to(backbone.model, "cuda")
    found = []
    for engine in ("one_pass", "separate"):
        model = LatentVLM(backbone, pearl_objective(horizon=2), engine=engine)
        batch = model.collator()(random_batch(seed))
        terms, gradients = back_propagated(model, send_to_device(batch, "cuda"))
        found.append((terms.raw, gradients))
    (raw, gradients), (raw_reference, gradients_reference) = found
    for name, value in raw_reference.items():
        torch.testing.assert_close(raw[name], value, rtol=1e-9, atol=0)
    for name, gradient in gradients_reference.items():
        assert (gradients[name] - gradient).norm() <= 1e-9 * gradient.norm() + 1e-12


def test_a_bfloat16_step_reaches_every_trainable_tensor() -> None:
    backbone = lora_backbone(torch.bfloat16)
    torch.nn.Module.to(backbone.model, "cuda")
    model = LatentVLM(backbone, pearl_objective())
    model(send_to_device(model.collator()(random_batch(0)), "cuda")).total.backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_step_never_waits_for_the_device(dtype: torch.dtype, checkpointing: bool) -> None:
    backbone = lora_backbone(dtype)
    torch.nn.Module.to(backbone.model, "cuda")
    model = LatentVLM(backbone, pearl_objective(horizon=2))
    if checkpointing:
        model.activation_checkpointing_enable()
    batch = send_to_device(model.collator()(random_batch(0)), "cuda")
    model(batch).total.backward()  # libraries set themselves up
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        model(batch).total.backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_the_kernel_s_path_agrees_with_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = lora_backbone(torch.bfloat16)
    torch.nn.Module.to(backbone.model, "cuda")
    model = LatentVLM(backbone, pearl_objective())
    batch = send_to_device(model.collator()(random_batch(1)), "cuda")
    found, calls, attend = [], [], attention.attend_by_kernel
    monkeypatch.setattr(
        attention, "attend_by_kernel", lambda *given, **options: (calls.append(1), attend(*given, **options))[1]
    )
    for allowed in (True, False):
        if not allowed:
            assert calls
            calls.clear()
            monkeypatch.setattr(attention, "kernel_runs", lambda query, dropout: False)
        terms, gradients = back_propagated(model, batch)
        found.append((terms.raw, gradients))
    assert not calls
    (raw, gradients), (raw_reference, gradients_reference) = found
    for name, value in raw_reference.items():
        torch.testing.assert_close(raw[name], value, rtol=0.02, atol=0)
    for name, gradient in gradients_reference.items():
        assert (gradients[name] - gradient).norm() <= 0.1 * gradient.norm() + 1e-4, name
