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


def test_the_package_exports_losses():
    assert len(FINAL) >= 5


@everywhere
def test_a_latent_loss_has_one_nonnegative_value_per_example(make, pair):
    loss = make()(*pair)
    assert loss.shape == (3,)
    assert (loss >= 0).all()


@everywhere
def test_one_gradient_step_lowers_a_latent_loss(make, pair):
    pred, target = pair
    pred.requires_grad_()
    loss = make()
    (grad,) = torch.autograd.grad(loss(pred, target).sum(), pred)
    assert loss(pred - 0.1 * grad, target).sum() < loss(pred, target).sum()


@everywhere
def test_the_gradient_of_a_latent_loss_reaches_the_target(make, pair):
    pred, target = pair
    target.requires_grad_()
    (grad,) = torch.autograd.grad(make()(pred, target).sum(), target)
    assert grad.abs().sum() > 0


@everywhere
def test_a_latent_loss_in_bfloat16_agrees_with_float32(make, pair):
    pred, target = (latent.bfloat16() for latent in pair)
    loss = make()(pred, target)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, make()(pred.float(), target.float()), rtol=0, atol=0)


@everywhere
def test_autocast_changes_no_latent_loss(make, pair):
    pred, target = (latent.float() for latent in pair)
    with torch.autocast("cpu", torch.bfloat16):
        loss = make()(pred, target)
    torch.testing.assert_close(loss, make()(pred, target), rtol=0, atol=0)


@everywhere
def test_a_latent_loss_keeps_float64(make, pair):
    loss = make()(*pair)
    assert loss.dtype == torch.float64
    torch.testing.assert_close(loss.float(), make()(*(latent.float() for latent in pair)))


@everywhere
def test_the_gradient_of_a_latent_loss_is_right(make, pair):
    pred, target = (latent.clone().requires_grad_() for latent in pair)
    assert torch.autograd.gradcheck(make(), (pred, target))


@everywhere
def test_the_latent_loss_of_an_example_does_not_depend_on_its_batch(make, pair):
    pred, target = pair
    loss = make()
    together = loss(pred, target)
    alone = torch.cat([loss(pred[i : i + 1], target[i : i + 1]) for i in range(len(pred))])
    assert torch.allclose(together, alone, rtol=1e-12, atol=0) is not loss.across_batch


@everywhere
def test_a_latent_loss_states_whether_lengths_count(make, pair):
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
def test_a_latent_loss_works_compiled(make, pair):
    torch.compiler.reset()
    compiled = torch.compile(make(), backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(*pair), make()(*pair))


@everywhere
def test_arguments_of_a_latent_loss_are_keyword_only(make):
    with pytest.raises(TypeError):
        make(1.0)


@everywhere
def test_the_docstring_example_of_a_latent_loss_is_true(make):
    for example in doctest.DocTestFinder(recurse=False).find(make, globs={**vars(losses), "torch": torch}):
        assert doctest.DocTestRunner().run(example).failed == 0
