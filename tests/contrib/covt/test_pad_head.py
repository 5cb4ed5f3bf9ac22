"""Each pad answers for itself."""

from __future__ import annotations

import pytest
import torch

from jepa_vlm.contrib.covt import PadHead


def test_an_answer_of_the_head_depends_on_its_own_expert_token():
    head = PadHead(out=3)
    with pytest.raises(RuntimeError, match="setup"):
        head(torch.zeros(1, 2, 4))
    head.setup(4, torch.Generator().manual_seed(0))
    states = torch.randn(2, 2, 4, generator=torch.Generator().manual_seed(1))
    answer = head(states)
    assert answer.shape == (2, 2, 3)
    changed = states.clone()
    changed[:, 1] += 1
    assert torch.equal(head(changed)[:, 0], answer[:, 0])
    assert not torch.equal(head(changed)[:, 1], answer[:, 1])
    with pytest.raises(ValueError, match="out"):
        PadHead(out=0)
