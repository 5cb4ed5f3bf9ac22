"""Micro-batches by tokens: cuts worked by hand, counts against what is computed, losses against one whole batch."""

from __future__ import annotations

import pytest
import torch

import jepa_vlm as jv
from jepa_vlm.training.order import Filling, MicroBatches, Passes, count_tokens, cut, filling
from jepa_vlm.trajectories.rows import Mixture, Source
from tests.factories import gradients_of, lora_backbone, pearl_objective, random_batch


class InOrder:
    """Passes that are not shuffled."""

    def __init__(self, count: int) -> None:
        self.pass_length = count

    def at(self, position: int) -> int:
        return position % self.pass_length


def test_a_micro_batch_ends_before_the_example_that_would_be_too_much() -> None:
    tokens = [4, 4, 3, 9, 12, 1, 2]  # budget 10: 4+4 | 3 | 9 | 12 (too long) | 1+2+4 | 4+3 | 9
    assert cut(InOrder(7), tokens, budget=10, micro_batches=7) == [0, 2, 3, 4, 5, 8, 10, 11]


def test_a_longer_run_begins_like_a_shorter_one() -> None:
    tokens = torch.randint(1, 50, (30,), generator=torch.Generator().manual_seed(0)).tolist()
    one, other = (
        cut(Passes(examples=range(30), seed=4), tokens, budget=60, micro_batches=number) for number in (20, 50)
    )
    assert len(one) == 21
    assert other[:21] == one


def test_the_filling_of_a_pass_by_hand() -> None:
    found = filling(InOrder(7), [4, 4, 3, 9, 12, 1, 2], budget=10)
    assert found == Filling(10, 5, 7, 0.66, 1)  # 8, 3, 9, 10 (of 12), 3
    assert found.warning == "1 trajectories have more than 10 tokens; each is a micro-batch of its own"
    assert filling(InOrder(2), [5, 5], budget=10).warning == ""


def test_a_mixture_is_cut_by_the_tokens_of_what_its_weights_show() -> None:
    mixture = Mixture([Source("a", [0, 1], 2), Source("b", [2], 1)])
    found = filling(Passes(examples=mixture, seed=0), [10, 10, 6], budget=10)
    assert (found.micro_batches, found.share) == (5, 0.92)  # 10, 10, 10, 10 and 6, in some order


@pytest.mark.parametrize("engine", ["one_pass", "separate"])
def test_counted_is_what_the_decoder_computes(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = lora_backbone()
    model = jv.LatentVLM(backbone, pearl_objective(), engine=engine)
    examples, collator = random_batch(3), model.collator()
    computed: list[int] = []
    decoder = backbone.adapter.decoder(backbone.base)
    hook = decoder.register_forward_hook(
        lambda _, args, kwargs, out: computed.append(out.last_hidden_state.shape[1]), with_kwargs=True
    )
    model(collator(examples))
    hook.remove()
    monkeypatch.setattr(jv.LazyImage, "load", lambda self: pytest.fail("an image was decoded"))
    counted = count_tokens(collator, examples)
    assert len(counted) == len(examples) > 1
    assert sum(counted) == sum(computed)


def test_workers_count_the_same() -> None:
    collator = jv.LatentVLM(lora_backbone(), pearl_objective()).collator()
    examples = jv.playground.trajectories("visual-search", count=70)
    assert count_tokens(collator, examples, workers=2) == count_tokens(collator, examples)


def test_the_cuts_change_no_loss_and_no_gradient(pure_float64: None) -> None:
    model = jv.LatentVLM(lora_backbone(torch.float64), pearl_objective(horizon=2))
    collator = model.collator()
    examples = [example for seed in range(3) for example in random_batch(seed)]
    tokens = count_tokens(collator, examples)
    starts = cut(InOrder(len(examples)), tokens, budget=2 * max(tokens), micro_batches=len(examples))
    starts = [*(start for start in starts if start < len(examples)), len(examples)]
    micro_batches = MicroBatches(
        examples=examples, passes=InOrder(len(examples)), starts=starts, per_step=len(starts) - 1
    )
    assert 2 < len(micro_batches) < len(examples)

    def step(parts: list[list[jv.Trajectory]]) -> tuple[float, dict[str, torch.Tensor]]:
        model.zero_grad()
        batches = [collator(part) for part in parts]
        counts = {name: sum(batch.counts[name] for batch in batches) for name in batches[0].counts}
        total = torch.zeros((), dtype=torch.float64)
        for batch in batches:
            loss = model(batch, counts).total
            loss.backward()
            total += loss.detach()
        return float(total), gradients_of(model)

    whole, split = step([examples]), step([list(batch.trajectories) for batch in micro_batches])
    assert split[0] == pytest.approx(whole[0], rel=1e-9)
    assert split[1].keys() == whole[1].keys()
    for name, gradient in whole[1].items():
        torch.testing.assert_close(split[1][name], gradient, rtol=1e-9, atol=1e-12)
