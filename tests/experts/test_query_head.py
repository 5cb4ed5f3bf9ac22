"""The head is plain multi-head attention of learned queries."""

from __future__ import annotations

import pytest
import torch

from jepa_vlm.experts import QueryHead


def made(**given):
    head = QueryHead(**{"queries": 5, "width": 8, "heads": 2, **given})
    head.setup(6, torch.Generator().manual_seed(0))
    return head.double()


def test_it_equals_torchs_own_attention():
    head, states = made(out=3), torch.randn(4, 7, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    stock = torch.nn.MultiheadAttention(8, 2, batch_first=True, dtype=torch.float64)
    query, key, value = (head.linears[name] for name in ("query", "key", "value"))
    any_bias = torch.randn(8, dtype=torch.float64)  # of the keys: it changes nothing, so the head has none
    with torch.no_grad():
        stock.in_proj_weight.copy_(torch.cat([query.weight, key.weight, value.weight]))
        stock.in_proj_bias.copy_(torch.cat([query.bias, any_bias, value.bias]))
        stock.out_proj.weight.copy_(head.linears["mix"].weight)
        stock.out_proj.bias.copy_(head.linears["mix"].bias)
    memory = head.linears["project"](states)
    expected, _ = stock(head.queries.expand(4, -1, -1), memory, memory)
    torch.testing.assert_close(head(states), head.linears["answer"](expected))
    assert made()(states).shape == (4, 5, 8)


def test_the_generator_alone_decides_the_weights():
    torch.manual_seed(0)
    one = made().state_dict()
    torch.manual_seed(1)
    assert all(torch.equal(value, one[name]) for name, value in made().state_dict().items())


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="heads divide width"):
        QueryHead(queries=2, width=6, heads=4)
    with pytest.raises(RuntimeError, match="setup"):
        QueryHead(queries=2, width=8)(torch.zeros(1, 2, 6))
