from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from jaxtyping import TypeCheckError

from jepa_vlm.losses import token_cross_entropy
from jepa_vlm.losses.token_cross_entropy import chunked_cross_entropy
from jepa_vlm.states import Head
from tests.factories import Alive

ROWS, DIM, VOCAB = 37, 16, 101
PATHS = {"torch's op": token_cross_entropy, "own": chunked_cross_entropy}
both = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS.keys())


def case(dtype, *, trainable=False, bias=False, rows=ROWS):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(rows, DIM, generator=generator).to(dtype).requires_grad_()
    weight = torch.randn(VOCAB, DIM, generator=generator).to(dtype).requires_grad_(trainable)
    offset = torch.randn(VOCAB, generator=generator).to(dtype).requires_grad_(trainable) if bias else None
    labels = torch.randint(0, VOCAB, (rows,), generator=generator)
    labels[3:4] = -100
    return hidden, labels, Head(weight, offset)


def with_gradients(sum_of, hidden, head):
    inputs = [t for t in (hidden, head.weight, head.bias) if t is not None and t.requires_grad]
    return [sum_of, *torch.autograd.grad(sum_of, inputs)]


def reference(hidden, labels, head):
    logits = F.linear(hidden, head.weight, head.bias)
    return F.cross_entropy(logits, labels, reduction="sum", ignore_index=-100)


@both
@pytest.mark.parametrize("trainable", [False, True], ids=["frozen", "trainable"])
@pytest.mark.parametrize("bias", [False, True], ids=["plain", "bias"])
@pytest.mark.parametrize("chunk", [1, 8, 37, 1000])
def test_token_cross_entropy_equals_cross_entropy_on_all_logits(path, trainable, bias, chunk):
    hidden, labels, head = case(torch.float64, trainable=trainable, bias=bias)
    got = with_gradients(path(hidden, labels, head, chunk=chunk), hidden, head)
    want = with_gradients(reference(hidden, labels, head), hidden, head)
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


@both
def test_token_cross_entropy_by_hand(path):
    head = Head(torch.tensor([[0.0], [1.0]]))
    hidden = torch.tensor([[0.0], [2.0]], requires_grad=True)
    # log 2, then log(1 + e^2) - 0 for the token with logit 0
    want = torch.log(torch.tensor(2.0)) + torch.log(1 + torch.exp(torch.tensor(2.0)))
    torch.testing.assert_close(path(hidden, torch.tensor([1, 0]), head, chunk=1), want)


@both
def test_token_cross_entropy_sums_bfloat16_in_float32(path):
    hidden, labels, head = case(torch.bfloat16, rows=600)
    got = with_gradients(path(hidden, labels, head, chunk=64), hidden, head)
    wide = hidden.detach().float().requires_grad_()
    want = with_gradients(reference(wide, labels, Head(head.weight.float())), wide, head)
    assert got[0].dtype == torch.float32
    torch.testing.assert_close(got[0], want[0], rtol=1e-3, atol=0)  # a bfloat16 sum would be off by up to 4e-3
    assert (got[1].float() - want[1]).norm() < 0.01 * want[1].norm()


def test_under_autocast_a_float32_head_computes_in_bfloat16_and_has_float32_gradients():
    hidden, labels, head = case(torch.float32, trainable=True)
    with torch.autocast("cpu", torch.bfloat16):
        found = with_gradients(token_cross_entropy(hidden, labels, head, chunk=8), hidden, head)
    half = [t.detach().bfloat16().requires_grad_() for t in (hidden, head.weight)]
    expected = with_gradients(token_cross_entropy(half[0], labels, Head(half[1]), chunk=8), half[0], Head(half[1]))
    assert {value.dtype for value in found} == {torch.float32}
    assert all(torch.equal(own, other.float()) for own, other in zip(found, expected, strict=True))


@both
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("trainable", [False, True], ids=["frozen", "trainable"])
@pytest.mark.parametrize("rows", [0, 5])
def test_token_cross_entropy_without_supervised_tokens_is_a_zero_with_a_graph(path, dtype, trainable, rows):
    hidden, labels, head = case(dtype, rows=rows, trainable=trainable)
    total, *gradients = with_gradients(path(hidden, torch.full_like(labels, -100), head, chunk=4), hidden, head)
    assert total.item() == 0
    assert total.dtype == torch.float32
    assert all(gradient.abs().sum() == 0 for gradient in gradients)


@pytest.mark.skipif(not hasattr(F, "linear_cross_entropy"), reason="torch before 2.13")
def test_torchs_linear_cross_entropy_receives_the_chunk_size(monkeypatch):
    """Left to choose for itself it takes chunks of a row or two where few rows meet a large vocabulary."""
    seen, op = [], F.linear_cross_entropy
    monkeypatch.setattr(F, "linear_cross_entropy", lambda *a, **k: seen.append(k["options"]) or op(*a, **k))
    token_cross_entropy(*case(torch.float32), chunk=8)
    assert [(options.chunking_method, options.batch_chunk_size) for options in seen] == [(None, 8)]


def test_backward_twice_gives_the_same():
    hidden, labels, head = case(torch.float32)
    total = token_cross_entropy(hidden, labels, head)
    first, second = (torch.autograd.grad(total, hidden, retain_graph=True)[0] for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_token_cross_entropy_works_without_gradient():
    hidden, labels, head = case(torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(token_cross_entropy(hidden, labels, head), reference(hidden, labels, head))


def test_token_cross_entropy_falls_back_on_a_torch_without_the_op(monkeypatch):
    monkeypatch.delattr(F, "linear_cross_entropy", raising=False)
    hidden, labels, head = case(torch.float32)
    want = reference(hidden, labels, head)
    torch.testing.assert_close(token_cross_entropy(hidden, labels, head), want)


@pytest.mark.parametrize("bias", [False, True], ids=["torch's op", "own"])
def test_token_cross_entropy_works_compiled(bias):
    torch.compiler.reset()
    hidden, labels, head = case(torch.float32, bias=bias)
    compiled = torch.compile(token_cross_entropy, backend="eager", fullgraph=True)
    got = with_gradients(compiled(hidden, labels, head, chunk=8), hidden, head)
    torch.testing.assert_close(got, with_gradients(reference(hidden, labels, head), hidden, head))


@both
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("trainable", [False, True], ids=["frozen", "trainable"])
def test_token_cross_entropy_holds_the_logits_of_one_chunk_at_most(path, dtype, trainable):
    hidden, labels, head = case(dtype, trainable=trainable)
    with Alive() as alive:
        path(hidden, labels, head, chunk=8).backward()
    assert alive.rows(VOCAB) == 8
    with Alive() as alive:
        reference(hidden, labels, head).backward()
    assert alive.rows(VOCAB) == ROWS


def test_states_and_labels_must_match():
    hidden, labels, head = case(torch.float32)
    with pytest.raises(TypeCheckError, match="tokens=37"):
        token_cross_entropy(hidden, labels[1:], head)


def test_chunk_must_be_positive():
    hidden, labels, head = case(torch.float32)
    with pytest.raises(ValueError, match="chunk must be at least 1, got 0"):
        token_cross_entropy(hidden, labels, head, chunk=0)
