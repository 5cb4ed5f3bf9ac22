from __future__ import annotations

import pytest
import torch

from jepa_vlm.regularizers.head_divergence import head_divergence
from jepa_vlm.states import Head
from tests.factories import Alive

ROWS, DIM, VOCAB = 37, 8, 50


def case(*, bias: bool = False) -> tuple[torch.Tensor, torch.Tensor, Head]:
    generator = torch.Generator().manual_seed(0)
    target, predicted = torch.randn(2, ROWS, DIM, generator=generator, dtype=torch.float64).unbind()
    weight = torch.randn(VOCAB, DIM, generator=generator, dtype=torch.float64)
    offset = torch.randn(VOCAB, generator=generator, dtype=torch.float64) if bias else None
    return target, predicted.requires_grad_(), Head(weight, offset)


def obvious(target: torch.Tensor, predicted: torch.Tensor, head: Head) -> torch.Tensor:
    offset = 0 if head.bias is None else head.bias
    goal, guess = (torch.softmax(state @ head.weight.T + offset, dim=-1) for state in (target, predicted))
    return (goal * (goal / guess).log()).sum(-1)


@pytest.mark.parametrize("chunk", [1, 8, 37, 100])
@pytest.mark.parametrize("bias", [False, True])
def test_chunks_change_no_head_divergence(chunk: int, bias: bool) -> None:
    target, predicted, head = case(bias=bias)
    found, expected = head_divergence(target, predicted, head, chunk=chunk), obvious(target, predicted, head)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    gradients = [torch.autograd.grad((each * torch.arange(ROWS)).sum(), predicted)[0] for each in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("chunk", "rows"), [(8, 8), (100, ROWS)])
def test_head_divergence_holds_the_logits_of_one_chunk_at_most(chunk: int, rows: int) -> None:
    target, predicted, head = case()
    with Alive() as alive:
        head_divergence(target, predicted, head, chunk=chunk).sum().backward()
    assert alive.rows(VOCAB) == rows
