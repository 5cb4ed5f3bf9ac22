"""Laws that every LatentLoss obeys. A new loss joins by being exported; nothing here changes."""

from __future__ import annotations

import doctest

import pytest
import torch
from jaxtyping import TypeCheckError

from jepa_vlm import losses

FINAL = [
    component
    for name in losses.__all__
    if isinstance(component := getattr(losses, name), type) and component is not losses.LatentLoss
]
everywhere = pytest.mark.parametrize("make", FINAL, ids=lambda c: c.__name__)


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, 8, generator=generator, dtype=torch.float64).unbind()


def test_there_are_losses():
    assert len(FINAL) >= 5


@everywhere
def test_one_value_per_example_and_none_negative(make, pair):
    loss = make()(*pair)
    assert loss.shape == (3,)
    assert (loss >= 0).all()


@everywhere
def test_one_step_downhill_lowers_it(make, pair):
    pred, target = pair
    pred.requires_grad_()
    loss = make()
    (grad,) = torch.autograd.grad(loss(pred, target).sum(), pred)
    assert loss(pred - 0.1 * grad, target).sum() < loss(pred, target).sum()


@everywhere
def test_gradient_flows_into_the_target_too(make, pair):
    pred, target = pair
    target.requires_grad_()
    (grad,) = torch.autograd.grad(make()(pred, target).sum(), target)
    assert grad.abs().sum() > 0


@everywhere
def test_bfloat16_agrees_with_float32(make, pair):
    pred, target = (latent.bfloat16() for latent in pair)
    loss = make()(pred, target)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, make()(pred.float(), target.float()), rtol=0, atol=0)


@everywhere
def test_autocast_changes_nothing(make, pair):
    pred, target = (latent.float() for latent in pair)
    with torch.autocast("cpu", torch.bfloat16):
        loss = make()(pred, target)
    torch.testing.assert_close(loss, make()(pred, target), rtol=0, atol=0)


@everywhere
def test_float64_stays(make, pair):
    loss = make()(*pair)
    assert loss.dtype == torch.float64
    torch.testing.assert_close(loss.float(), make()(*(latent.float() for latent in pair)))


@everywhere
def test_gradient_is_right(make, pair):
    pred, target = (latent.clone().requires_grad_() for latent in pair)
    assert torch.autograd.gradcheck(make(), (pred, target))


@everywhere
def test_an_example_is_worth_the_same_alone(make, pair):
    pred, target = pair
    loss = make()
    together = loss(pred, target)
    alone = torch.cat([loss(pred[i : i + 1], target[i : i + 1]) for i in range(len(pred))])
    assert torch.allclose(together, alone, rtol=1e-12, atol=0) is not loss.across_batch


@everywhere
def test_it_says_whether_lengths_count(make, pair):
    pred, target = pair
    loss = make()
    assert torch.allclose(loss(pred, target), loss(2 * pred, 3 * target), rtol=1e-12, atol=0) is not loss.sees_length


@everywhere
@pytest.mark.parametrize("shape", [(3, 4), (2, 8)])
def test_mismatched_shapes_name_the_axis_and_both_sizes(make, shape):
    axis = "dim=8" if shape[1] != 8 else "batch=3"
    with pytest.raises(TypeCheckError) as caught:
        make()(torch.zeros(3, 8), torch.zeros(shape))
    assert axis in str(caught.value)
    assert f"f32[{shape[0]},{shape[1]}]" in str(caught.value)


@everywhere
def test_works_compiled(make, pair):
    torch.compiler.reset()
    compiled = torch.compile(make(), backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(*pair), make()(*pair))


@everywhere
def test_arguments_are_keyword_only(make):
    with pytest.raises(TypeError):
        make(1.0)


@everywhere
def test_its_example_is_true(make):
    for example in doctest.DocTestFinder(recurse=False).find(make, globs={**vars(losses), "torch": torch}):
        assert doctest.DocTestRunner().run(example).failed == 0
