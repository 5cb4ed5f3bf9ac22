"""Laws that every Predictor obeys. A new predictor joins by being exported; nothing here changes."""

from __future__ import annotations

import copy
import doctest

import pytest
import torch
from jaxtyping import TypeCheckError

from jepa_vlm import predictors

DIM = 8
FINAL = [c for name in predictors.__all__ if (c := getattr(predictors, name)) is not predictors.Predictor]
everywhere = pytest.mark.parametrize("make", FINAL, ids=lambda c: c.__name__)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def ready(make, seed=0):
    predictor = make()
    predictor.setup(DIM, generator(seed))
    return predictor


@pytest.fixture
def context():
    return torch.randn(3, DIM, generator=generator(1))


def test_the_package_exports_predictors():
    assert len(FINAL) >= 3


@everywhere
def test_a_predictor_holds_no_tensors_before_setup(make):
    assert not make().state_dict()


@everywhere
def test_a_predictor_returns_one_latent_per_example(make, context):
    assert ready(make)(context).shape == context.shape


@everywhere
def test_embeddings_of_soft_tokens_match_their_number(make):
    predictor = ready(make)
    inputs = predictor.slot_inputs()
    if predictor.slots == 0:
        assert inputs is None
    else:
        assert inputs.shape == (predictor.slots, DIM)
        assert inputs.requires_grad


@everywhere
def test_weights_of_a_predictor_are_float32_and_drawn_from_the_generator_alone(make):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = ready(make), ready(make), ready(make, seed=1)
    assert torch.equal(before, torch.get_rng_state())
    for name, weight in first.state_dict().items():
        assert weight.dtype == torch.float32
        assert torch.equal(weight, again.state_dict()[name])
        constant = bool((weight == weight.flatten()[0]).all())  # a norm's
        assert constant == torch.equal(weight, other.state_dict()[name])


@everywhere
def test_weights_of_a_predictor_are_float32_whatever_the_default_dtype(make):
    torch.set_default_dtype(torch.float64)
    try:
        types = {weight.dtype for weight in ready(make).state_dict().values()}
    finally:
        torch.set_default_dtype(torch.float32)
    assert types <= {torch.float32}


@everywhere
def test_a_copy_of_a_predictor_shares_no_tensor(make):
    first = ready(make)
    second = copy.deepcopy(first)
    assert not {p.data_ptr() for p in first.parameters()} & {p.data_ptr() for p in second.parameters()}


@everywhere
def test_the_prediction_for_an_example_does_not_depend_on_its_batch(make, context):
    predictor = ready(make)
    alone = torch.cat([predictor(context[i : i + 1]) for i in range(len(context))])
    torch.testing.assert_close(predictor(context), alone)


@everywhere
def test_the_gradient_of_a_predictor_is_right_and_float64_is_kept(make, context):
    predictor = ready(make).double()
    wide = context.double().requires_grad_()
    assert predictor(wide).dtype == torch.float64
    assert torch.autograd.gradcheck(predictor, (wide,))


@everywhere
def test_a_predictor_in_bfloat16_agrees_with_float32(make, context):
    predictor = ready(make)
    half = context.bfloat16()
    torch.testing.assert_close(predictor(half).float(), predictor(half.float()))


@everywhere
def test_a_predictor_works_compiled(make, context):
    torch.compiler.reset()
    predictor = ready(make)
    torch.testing.assert_close(torch.compile(predictor, backend="eager", fullgraph=True)(context), predictor(context))


@everywhere
def test_a_context_that_is_no_batch_of_latents_is_refused(make):
    with pytest.raises(TypeCheckError, match="batch dim"):
        ready(make)(torch.zeros(2, 3, DIM))


@pytest.mark.parametrize("make", [make for make in FINAL if ready(make).state_dict()])
def test_mismatched_dim_names_the_axis_and_both_sizes(make):
    predictor = ready(make)
    with pytest.raises(ValueError, match=r"dim=8.*got dim=4"):
        predictor(torch.zeros(3, 4))


@everywhere
def test_use_before_setup_is_refused_where_there_are_weights(make, context):
    predictor = make()
    if list(ready(make).parameters()):
        with pytest.raises(RuntimeError, match=r"call setup\(dim, generator\) first"):
            predictor(context)
    else:
        assert predictor(context) is context


@everywhere
def test_arguments_of_a_predictor_are_keyword_only(make):
    with pytest.raises(TypeError):
        make(1)


@everywhere
def test_the_docstring_example_of_a_predictor_is_true(make):
    for example in doctest.DocTestFinder(recurse=False).find(make, globs={**vars(predictors), "torch": torch}):
        assert doctest.DocTestRunner().run(example).failed == 0
