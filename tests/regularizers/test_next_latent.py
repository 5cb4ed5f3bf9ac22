from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import jepa_vlm as jv
from jepa_vlm.regularizers.next_latent import LatentDynamics
from jepa_vlm.states import Head, RegionStates, States


def region(hidden: torch.Tensor, document: list[int], labels: list[int] | None = None) -> RegionStates:
    count = len(hidden)
    return RegionStates(
        hidden=hidden,
        labels=torch.tensor(labels if labels is not None else [1] * count),
        document=torch.tensor(document),
        inputs=torch.zeros_like(hidden),
    )


def value(term: jv.NextLatentRegularizer, states: RegionStates, vocab: int = 5) -> torch.Tensor:
    head = Head(torch.eye(vocab, states.hidden.shape[1], dtype=states.hidden.dtype))
    (request,) = term.requests()
    return term(States({}, {request: states}, head)).total


def still(horizon: int = 1, **options: object) -> jv.NextLatentRegularizer:
    """A regularizer whose head predicts no change, so that its values can be worked out by hand."""
    term = jv.NextLatentRegularizer(horizon=horizon, **options)
    term.setup(2, torch.Generator().manual_seed(0))
    torch.nn.init.zeros_(term.head.third.weight)
    return term


def test_next_latent_regularizer_of_one_step_by_hand() -> None:
    # No change predicted: differences (0.5, 3) and (0, 1). SmoothL1, beta 1: 0.125 and 2.5, 0 and 0.5; mean over dim.
    hidden = torch.tensor([[0.0, 0.0], [0.5, 3.0], [0.5, 4.0]])
    assert value(still(), region(hidden, [0, 0, 0])).item() == pytest.approx((0.125 + 2.5) / 2 + (0 + 0.5) / 2)


def test_weights_of_the_next_latent_regularizer_come_from_the_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, again = still(), still()
    assert torch.equal(torch.rand(3), expected)
    weights = [term.head.first.weight for term in (one, again)]
    assert torch.equal(*weights)
    assert weights[0].std().item() == pytest.approx(0.5, rel=0.8)  # 1 / sqrt(4), of eight numbers


def test_beta_moves_the_crossover() -> None:
    # Differences (1, 4) with beta 2: 1 / (2 * 2) and 4 - 2 / 2; mean over dim.
    hidden = torch.tensor([[0.0, 0.0], [1.0, 4.0]])
    assert value(still(beta=2.0), region(hidden, [0, 0])).item() == pytest.approx((0.25 + 3.0) / 2)


def test_next_latent_regularizer_of_two_steps_and_two_documents_by_hand() -> None:
    hidden = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [9.0, 9.0], [9.0, 7.0]])
    # Document 0: one step ahead 1, 1; two ahead 2. Document 1: one ahead 2. Nothing crosses.
    total = value(still(horizon=2), region(hidden, [0, 0, 0, 1, 1]))
    assert total.item() == pytest.approx((0.5 + 0.5 + 1.5 + 1.5) / 2)


def test_supervised_pairs_are_counted_by_their_target() -> None:
    hidden = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [4.0, 0.0]])
    states = region(hidden, [0, 0, 0, 0], labels=[-100, -100, 7, 7])
    # Pairs whose target is token 2 or 3: from 1 and from 2. SmoothL1: 0.5, 1.5.
    assert value(still(positions="supervised"), states).item() == pytest.approx((0.5 + 1.5) / 2)


def test_supervised_pairs_do_not_cross_documents_either() -> None:
    hidden = torch.tensor([[0.0, 0.0], [1.0, 0.0], [7.0, 7.0], [9.0, 7.0]])
    states = region(hidden, [0, 0, 1, 1], labels=[7, 7, 7, 7])
    assert value(still(horizon=3, positions="supervised"), states).item() == pytest.approx((0.5 + 1.5) / 2)


def test_the_rollout_feeds_predictions_back_and_forces_inputs() -> None:
    term = jv.NextLatentRegularizer(horizon=2)
    term.setup(2, torch.Generator().manual_seed(3))
    hidden, fed = torch.randn(2, 4, 2, generator=torch.Generator().manual_seed(1)).unbind()
    states = RegionStates(hidden, torch.ones(4, dtype=torch.long), torch.zeros(4, dtype=torch.long), fed)
    one = term.head(hidden[:-1], fed[1:])
    two = term.head(one[:-1], fed[2:])
    expected = F.smooth_l1_loss(one, hidden[1:], reduction="none").mean(-1).sum()
    expected = expected + F.smooth_l1_loss(two, hidden[2:], reduction="none").mean(-1).sum()
    torch.testing.assert_close(value(term, states), expected)


def test_targets_get_no_gradient_and_starts_do() -> None:
    hidden = torch.tensor([[0.0, 0.0], [1.0, 0.0]], requires_grad=True)
    value(still(), region(hidden, [0, 0])).backward()
    assert hidden.grad is not None
    assert hidden.grad[0].abs().sum() > 0
    assert hidden.grad[1].abs().sum() == 0


def test_kl_by_hand() -> None:
    term = still(state_weight=0.0, kl_weight=1.0)
    hidden = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    target, guess = torch.softmax(torch.tensor([0.0, 2.0]), 0), torch.softmax(torch.tensor([1.0, 0.0]), 0)
    expected = (target * (target / guess).log()).sum()
    assert value(term, region(hidden, [0, 0]), vocab=2).item() == pytest.approx(expected.item())


def test_kl_is_exact_under_autocast() -> None:
    # Between near distributions the products' rounding in half precision outweighs the divergence itself.
    term = jv.NextLatentRegularizer(state_weight=0.0, kl_weight=1.0, condition="none")
    term.setup(64, torch.Generator().manual_seed(0))
    torch.nn.init.zeros_(term.head.third.weight)
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(64, generator=generator) + 0.01 * torch.randn(8, 64, generator=generator)
    head = Head(torch.randn(50, 64, generator=generator))
    (request,) = term.requests()
    states = States({}, {request: region(hidden, [0] * 8)}, head)
    expected = term(states).total
    with torch.autocast("cpu", torch.bfloat16):
        total = term(states).total
    torch.testing.assert_close(total, expected, rtol=1e-5, atol=0)


def test_kl_does_not_train_the_head() -> None:
    weight = torch.eye(2, requires_grad=True)
    term = still(kl_weight=1.0)
    hidden = torch.tensor([[1.0, 0.0], [0.0, 2.0]], requires_grad=True)
    (request,) = term.requests()
    term(States({}, {request: region(hidden, [0, 0])}, Head(weight))).total.backward()
    assert weight.grad is None
    assert hidden.grad is not None


def test_next_latent_regularizer_without_a_pair_is_a_zero_with_a_graph() -> None:
    term = still()
    total = value(term, region(torch.ones(1, 2), [0]))
    assert total.item() == 0
    total.backward()
    assert all(p.grad is not None for p in term.parameters())


def test_condition_none_ignores_inputs() -> None:
    head = LatentDynamics(dim=2, condition="none", generator=torch.Generator().manual_seed(0))
    state = torch.randn(3, 2)
    assert torch.equal(head(state, torch.zeros(3, 2)), head(state, torch.ones(3, 2)))
    assert head.norm.normalized_shape == (2,)


@pytest.mark.parametrize(
    "wrong",
    [
        {"horizon": 0},
        {"condition": "state"},
        {"positions": "text"},
        {"beta": 0.0},
        {"kl_weight": -1.0},
        {"state_weight": 0.0},
        {"view": jv.views.Question()},
    ],
)
def test_wrong_arguments_of_the_next_latent_regularizer_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"got|positions|question"):
        jv.NextLatentRegularizer(**wrong)
