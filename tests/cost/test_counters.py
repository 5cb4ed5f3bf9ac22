"""Formulas of FLOPs against plain matrix products, which torch's counter knows, and memory against sums by hand."""

from __future__ import annotations

import doctest

import pytest
import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop
from torch.utils.flop_counter import FlopCounterMode

from jepa_vlm.cost import AliveBytes, FlopCounter
from jepa_vlm.cost.counters import attention_pairs, packed_pairs

HEADS, WIDTH = 4, 8


def eager_flops(function):
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


def eager_row(queries, keys):
    """Attention of one head from ``queries`` positions to ``keys`` ones by two matrix products, and back."""
    query, key, value = (torch.randn(n, WIDTH, requires_grad=True) for n in (queries, keys, keys))
    return lambda: ((query @ key.T).softmax(-1) @ value).sum()


def qkv(queries, keys, kv_heads=HEADS, batch=1):
    shapes = (batch, HEADS, queries, WIDTH), (batch, kv_heads, keys, WIDTH), (batch, kv_heads, keys, WIDTH)
    return [torch.randn(shape, requires_grad=True) for shape in shapes]


def test_flops_of_a_matrix_product_by_hand():
    with FlopCounter() as counter:
        torch.ones(2, 3) @ torch.ones(3, 5)
    assert counter.total == 2 * 2 * 3 * 5
    assert counter.by_operator() == {"aten.mm": 60}


def test_the_stock_counter_misses_attention_and_cross_entropy_on_cpu():
    """The reason for this module: if this fails, torch has learned to count them."""
    query, key, value = qkv(6, 6)
    assert eager_flops(lambda: F.scaled_dot_product_attention(query, key, value)) == 0


@pytest.mark.parametrize(("queries", "keys"), [(6, 6), (3, 9), (1, 7), (9, 3)])
@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_attention_counts_its_useful_pairs(queries, keys, causal, kv_heads):
    query, key, value = qkv(queries, keys, kv_heads, batch=2)
    with FlopCounter() as forward:
        out = F.scaled_dot_product_attention(query, key, value, is_causal=causal, enable_gqa=True)
    with FlopCounter() as backward:
        out.sum().backward()
    rows = [min(row + 1, keys) if causal else keys for row in range(queries)]
    attend = [eager_row(1, seen) for seen in rows]
    assert forward.total == 2 * HEADS * sum(eager_flops(row) for row in attend)
    both = 2 * HEADS * sum(eager_flops(lambda row=row: row().backward()) for row in attend)
    assert forward.total + backward.total == both


def test_flops_of_causal_attention_are_those_of_the_lower_triangle_by_hand():
    query, key, value = qkv(5, 5)
    with FlopCounter() as counter:
        F.scaled_dot_product_attention(query, key, value, is_causal=True).sum().backward()
    assert counter.total == (2 + 4) * 2 * HEADS * WIDTH * (5 * 6 // 2)


def test_a_mask_does_not_make_a_rectangle_cheaper():
    query, key, value = qkv(3, 9)
    mask = torch.ones(3, 9, dtype=torch.bool).tril(6)
    with FlopCounter() as counter:
        F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    assert counter.total == HEADS * eager_flops(eager_row(3, 9))


def test_the_math_path_is_counted_as_the_products_it_does():
    query, key, value = qkv(6, 6)
    with FlopCounter() as counter:
        F.scaled_dot_product_attention(query, key, value, dropout_p=0.5)
    assert counter.by_operator() == {"aten.bmm": HEADS * eager_flops(eager_row(6, 6))}


@pytest.mark.skipif(not hasattr(F, "linear_cross_entropy"), reason="torch before 2.13")
@pytest.mark.parametrize("trained", [False, True], ids=["frozen", "trained"])
@pytest.mark.parametrize("gradient", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_flops_of_linear_cross_entropy_are_counted(trained, gradient, reduction):
    rows, width, vocab = 10, 8, 30
    hidden = torch.randn(rows, width, requires_grad=gradient)
    weight = torch.randn(vocab, width, requires_grad=gradient and trained)
    labels = torch.randint(0, vocab, (rows,))

    def run(loss):
        if gradient:
            loss.sum().backward()

    options = torch.nn.LinearCrossEntropyOptions(chunking_method=None, batch_chunk_size=4)
    with FlopCounter() as counter:
        run(F.linear_cross_entropy(hidden, weight, labels, reduction=reduction, options=options))
    wanted = eager_flops(lambda: run(F.cross_entropy(hidden @ weight.T, labels, reduction=reduction)))
    assert wanted == 2 * rows * vocab * width * (1 + gradient + (gradient and trained))
    again = wanted // (1 + gradient + trained) if gradient and reduction == "none" else 0  # logits formed again
    assert counter.total == wanted + again


@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
def test_the_meta_device_counts_what_the_cpu_counts(causal):
    totals = []
    for device in ("cpu", "meta"):
        tensors = [tensor.detach().to(device).requires_grad_() for tensor in qkv(6, 6, kv_heads=2)]
        with FlopCounter() as counter:
            F.scaled_dot_product_attention(*tensors, is_causal=causal, enable_gqa=True).sum().backward()
        totals.append(counter.total)
    assert totals[0] == totals[1] > 0
    assert F.scaled_dot_product_attention.__name__ == "scaled_dot_product_attention"  # torch's own again


def test_a_checkpointed_layer_is_run_again_with_the_same_attention_on_the_meta_device():
    query, key, value = (tensor.detach().to("meta").requires_grad_() for tensor in qkv(6, 6))
    with FlopCounter() as counter, set_checkpoint_early_stop(False):
        checkpoint(lambda: F.scaled_dot_product_attention(query, key, value), use_reentrant=False).sum().backward()
    assert counter.total == (2 + 2 + 4) * 2 * HEADS * WIDTH * 36


def test_packed_sequences_count_their_own_pairs():
    from torch.nn.attention.varlen import varlen_attn

    query, key, value = (torch.zeros(5 + 2, HEADS, WIDTH, device="meta", requires_grad=True) for _ in range(3))
    ends = torch.tensor([0, 5, 7], dtype=torch.int32)
    with FlopCounter() as counter:
        varlen_attn(query, key, value, ends, ends, 5, 5, window_size=(-1, 0)).sum().backward()
    assert counter.total == (2 + 4) * 2 * HEADS * WIDTH * (5 * 6 // 2 + 2 * 3 // 2)


@pytest.mark.parametrize(
    ("queries", "keys", "causal", "pairs"), [(3, 3, True, 6), (2, 5, True, 9), (5, 2, True, 3), (2, 5, False, 10)]
)
def test_attention_pairs_of_packed_sequences_by_hand(queries, keys, causal, pairs):
    """The last query sees all keys: two of five see 4 and 5; of five queries on two keys the first three see none."""
    assert packed_pairs(queries, keys, causal=causal) == pairs


def test_recomputation_by_checkpointing_counts_again():
    layer, inputs = torch.nn.Linear(4, 6, bias=False), torch.ones(2, 4, requires_grad=True)
    with FlopCounter() as counter, set_checkpoint_early_stop(False):
        checkpoint(layer, inputs, use_reentrant=False).sum().backward()
    assert counter.total == (2 + 2) * (2 * 2 * 4 * 6)


def test_flops_of_a_product_added_in_place_are_counted():
    with FlopCounter() as counter:
        torch.zeros(2, 5).addmm_(torch.ones(2, 3), torch.ones(3, 5), alpha=-1)
    assert counter.total == 60


def test_flops_are_listed_by_module():
    model = torch.nn.Sequential(torch.nn.Linear(4, 6, bias=False), torch.nn.Linear(6, 1, bias=False))
    with FlopCounter() as counter:
        model(torch.ones(2, 4))
    assert counter.by_module() == {"Sequential": 120, "Sequential.0": 96, "Sequential.1": 24}


@pytest.mark.parametrize(
    ("queries", "keys", "causal", "pairs"), [(3, 3, True, 6), (2, 5, True, 3), (5, 2, True, 9), (2, 5, False, 10)]
)
def test_attention_pairs_are_counted(queries, keys, causal, pairs):
    assert attention_pairs(queries, keys, causal=causal) == pairs


def test_freed_memory_no_longer_counts():
    outside = torch.ones(100)
    with AliveBytes() as memory:
        first = outside * 2
        second = first.view(10, 10) + 1
        del first
        third = second.exp()
    assert (memory.peak, memory.now, memory.largest) == (800, 800, 400)
    assert third.sum() > 0


def test_a_storage_counts_once_and_views_not_at_all():
    outside = torch.ones(8, 8)
    with AliveBytes() as memory:
        views = [outside.T, outside[0], outside.view(64), outside.add_(1)]
    assert memory.peak == 0
    assert len(views) == 4


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_memory_of_a_backward_pass_by_hand(device):
    x, w = (torch.ones(10, 10, device=device, requires_grad=True) for _ in range(2))
    with AliveBytes() as memory:
        y = (x @ w).exp()  # product and result: 800
        assert memory.now == 400  # the product is gone, its exponential is held
        y.sum().backward()
    assert memory.peak == 400 + 4 + 4 + 400 + 400 + 400  # y, sum, its gradient; gradients of y@w, then of x and w
    assert memory.now == 400 + 400 + 400  # y and the two gradients


@pytest.mark.parametrize("counter", [FlopCounter, AliveBytes])
def test_docstring_examples_of_the_counters_are_true(counter):
    names = {counter.__name__: counter, "torch": torch}
    (example,) = doctest.DocTestFinder(recurse=False).find(counter, globs=names)
    assert doctest.DocTestRunner().run(example).failed == 0
