"""Packed attention equals a dense mask, on both of its paths; the kernel's arguments are right."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepa_vlm.engine import attention, vision_attention
from jepa_vlm.engine.batch import Layout, Suffix
from tests.engine.kernel import Kernel

LAYOUTS = {
    "one segment": Layout((7,)),
    "segments": Layout((5, 1, 3)),
    "suffixes": Layout((5, 3), (Suffix(0, 4, 2), Suffix(5, 3, 1), Suffix(0, 5, 3))),
    "a long suffix": Layout((4, 9), (Suffix(4, 2, 11),)),
}
each_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())


def tensors(tokens: int, dtype: torch.dtype = torch.float64, size: int = 8) -> list[Tensor]:
    """Queries of four heads, keys and values of two, and the gradient of the result."""
    generator = torch.Generator().manual_seed(0)
    made = [torch.randn(1, heads, tokens, size, generator=generator, dtype=torch.float64) for heads in (4, 2, 2, 4)]
    return [tensor.to(dtype).requires_grad_() for tensor in made[:3]] + [made[3].transpose(1, 2).to(dtype)]


def result(attend: Callable[..., Tensor], made: list[Tensor]) -> list[Tensor]:
    *inputs, gradient = made
    out = attend(*inputs)
    return [out, *torch.autograd.grad(out, inputs, gradient)]


def packed(layout: Layout, *, scaling: float | None = 0.3) -> Callable[..., Tensor]:
    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        indices = {
            name: value.to(query.device)
            if isinstance(value, Tensor)
            else {**value, "ends": value["ends"].to(query.device)}
            for name, value in attention.kernel_indices(layout).items()
        }
        out, _ = attention.packed_attention(
            nn.Identity(), query, key, value, None, scaling, packed_layout=layout, packed_indices=indices
        )
        return out

    return attend


def dense(layout: Layout) -> Callable[..., Tensor]:
    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        mask = attention.dense_mask(layout).to(query.device)
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=0.3, enable_gqa=True)
        return out.transpose(1, 2)

    return attend


@each_layout
def test_attention_by_segment_equals_a_dense_mask(layout: Layout) -> None:
    made = tensors(len(layout))
    torch.testing.assert_close(result(packed(layout), made), result(dense(layout), made), rtol=1e-12, atol=1e-12)


@each_layout
def test_attention_by_kernel_equals_a_dense_mask(layout: Layout, kernel: Kernel) -> None:
    made = tensors(len(layout))
    torch.testing.assert_close(result(packed(layout), made), result(dense(layout), made), rtol=1e-12, atol=1e-12)
    suffixes = [(len(layout.suffixes), True)] if layout.suffixes else []
    assert kernel.calls == [(len(layout.segments), True), *suffixes]


def test_attention_repeats_keys_for_a_torch_without_grouped_queries(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "_GROUPED", False)
    layout = LAYOUTS["suffixes"]
    made = tensors(len(layout))
    torch.testing.assert_close(result(packed(layout), made), result(dense(layout), made), rtol=1e-12, atol=1e-12)
    assert len(kernel.calls) == 2


def test_chunks_in_attention_by_kernel_do_not_see_each_other(kernel: Kernel) -> None:
    query, key, value, gradient = tensors(7)
    key, value = (t.repeat_interleave(2, dim=1).detach().requires_grad_() for t in (key, value))
    made = [query, key, value, gradient]
    lengths, ends = [2, 3, 2], torch.tensor([0, 2, 5, 7], dtype=torch.int32)
    member = torch.bucketize(torch.arange(7), ends[1:], right=True)

    def chunked(*inputs: Tensor) -> Tensor:
        options = {"cu_seq_lens_q": ends, "max_length_q": 3, "chunk_lengths": {3: lengths}}
        return vision_attention.chunk_attention(nn.Identity(), *inputs, None, **options)[0]

    def masked(*inputs: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(*inputs, attn_mask=member[:, None] == member).transpose(1, 2)

    torch.testing.assert_close(result(chunked, made), result(masked, made), rtol=1e-12, atol=1e-12)
    assert kernel.calls == [(3, False)]


@each_layout
def test_torch_s_own_kernel_takes_these_arguments(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the meta device the real operator runs forward and backward without its mathematics."""
    monkeypatch.setattr(attention, "kernel_runs", lambda query, dropout: True)
    query, key, value, gradient = (t.detach().to("meta") for t in tensors(len(layout), torch.bfloat16))
    inputs = [t.requires_grad_() for t in (query, key, value)]
    out, *gradients = result(packed(layout), [*inputs, gradient])
    assert out.shape == gradient.shape
    assert [g.shape for g in gradients] == [t.shape for t in inputs]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_attention_on_the_cpu_does_not_use_the_kernel(dtype: torch.dtype) -> None:
    assert not attention.kernel_runs(torch.zeros(1, 2, 3, 8, dtype=dtype), 0.0)


class OnGpu:
    """What ``can_run`` looks at, of a tensor on a GPU."""

    is_cuda, device = True, "cuda"

    def __init__(self, dtype: torch.dtype, size: int) -> None:
        self.dtype, self.shape = dtype, (1, 4, 10, size)


@pytest.mark.parametrize(
    ("dtype", "size", "dropout", "capability", "runs"),
    [
        (torch.bfloat16, 128, 0.0, (9, 0), True),
        (torch.float16, 80, 0.0, (8, 0), True),
        (torch.float32, 128, 0.0, (9, 0), False),
        (torch.bfloat16, 128, 0.1, (9, 0), False),
        (torch.bfloat16, 36, 0.0, (9, 0), False),
        (torch.bfloat16, 512, 0.0, (9, 0), False),
        (torch.bfloat16, 128, 0.0, (7, 5), False),
    ],
)
def test_the_kernel_is_used_for_supported_types_and_head_sizes_alone(
    dtype: torch.dtype,
    size: int,
    dropout: float,
    capability: tuple[int, int],
    runs: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert attention.kernel_runs(OnGpu(dtype, size), dropout) == runs  # type: ignore[arg-type]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU, and torch sees none")
@each_layout
def test_the_real_kernel_equals_a_dense_mask(layout: Layout) -> None:
    made = [t.detach().cuda().requires_grad_() for t in tensors(len(layout), torch.bfloat16, size=64)]
    assert attention.kernel_runs(made[0], 0.0)
    wide = [t.detach().double().requires_grad_() for t in made]
    for found, expected in zip(result(packed(layout), made), result(dense(layout), wide), strict=True):
        assert (found - expected).norm() < 0.01 * expected.norm()
