"""The compared steps compute what they say: equal losses where they should be equal, and the baselines' waste."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmarks.shapes import LATENT_END, LATENT_START
from benchmarks.step import baselines
from benchmarks.step.baselines import VIEWS
from benchmarks.step.counting import count_memory
from benchmarks.step.variants import VARIANTS, lvr_objective, pearl_objective, step_of, with_target_policy
from jepa_vlm.adapters import digests
from jepa_vlm.adapters.digests import weights_digest
from jepa_vlm.errors import BackboneError
from jepa_vlm.latent_vlm import LatentVLM
from jepa_vlm.recipe import load_recipe
from jepa_vlm.training import target_filling
from jepa_vlm.views import IGNORED, frozen, stop_gradient

ENDS = ((0, -1), (-1, 1))  # a slot, and which token beside it


def loss_and_gradients(variant, setting):
    return measured(VARIANTS[variant](setting))


def measured(step):
    setting = step.setting
    with step.around():
        loss = step.forward()
        loss.backward()
    gradients = {
        name: parameter.grad.clone()
        for name, parameter in setting.backbone.model.named_parameters()
        if parameter.grad is not None
    }
    step.release()
    return loss.detach(), gradients


@pytest.fixture
def float64_losses(pure_float64, monkeypatch):
    """Lift the casts to float32 ahead of stock losses too."""
    stock_float = torch.Tensor.float
    monkeypatch.setattr(torch.Tensor, "float", lambda t: t if t.dtype == torch.float64 else stock_float(t))


@pytest.fixture
def trained_adapter(exact_setting):
    """An adapter that does something: with B = 0 a gradient would be blind to A."""
    setting = exact_setting
    before = {name: p.detach().clone() for name, p in setting.backbone.model.named_parameters() if "lora_B" in name}
    generator = torch.Generator().manual_seed(1)
    parameters = dict(setting.backbone.model.named_parameters())
    with torch.no_grad():
        for name in before:
            parameters[name].copy_(0.05 * torch.randn(before[name].shape, generator=generator))
    yield
    with torch.no_grad():
        for name, value in before.items():
            parameters[name].copy_(value)


@pytest.mark.parametrize("checkpointing", [False, True], ids=["held", "checkpointed"])
@pytest.mark.parametrize("pair", [("sft", "sft_stock"), ("pearl", "pearl_separate")], ids=" = ".join)
def test_steps_with_the_same_objective_have_equal_losses(
    pair, checkpointing, exact_setting, trained_adapter, float64_losses
):
    own = replace(exact_setting, checkpointing=checkpointing)
    (loss, gradients), (other, others) = (loss_and_gradients(variant, own) for variant in pair)
    torch.testing.assert_close(loss, other, rtol=1e-9, atol=0)
    assert gradients.keys() == others.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, others[name], rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_cached_targets_are_those_of_the_frozen_base(exact_setting, trained_adapter, pure_float64):
    setting = exact_setting
    loss, gradients = loss_and_gradients("pearl_cached", setting)
    policies = {policy: with_target_policy(pearl_objective(), policy) for policy in (frozen(), stop_gradient())}
    (wanted, others), (current, _) = (measured(step_of(setting, own)) for own in policies.values())
    torch.testing.assert_close(loss, wanted, rtol=1e-9, atol=0)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, others[name], rtol=1e-9, atol=1e-12)
    assert abs(loss - current) > 1e-4 * loss  # the adapter does something to the target


def test_the_weights_are_digested_once(setting, monkeypatch):
    read = []

    def counted(base):
        read.append(base)
        return weights_digest(base)

    for module in (digests, target_filling):
        monkeypatch.setattr(module, "weights_digest", counted)
    VARIANTS["pearl_cached"](setting)
    assert len(read) == 1


def test_another_target_policy_changes_nothing_else():
    own, changed = pearl_objective(), with_target_policy(pearl_objective(), frozen())
    assert str(changed) == str(own).replace(str(stop_gradient()), str(frozen()))
    assert str(changed) != str(own)


def test_the_released_step_pads_three_views_to_the_longest(setting):
    model = LatentVLM(setting.backbone, load_recipe("pearl_released", dropout=0.0).objective)
    views = [model.serialize(trajectory) for trajectory in setting.trajectories]
    images = baselines.images_of(setting)
    shown = [(own[name], pictures) for name in VIEWS for own, pictures in zip(views, images, strict=True)]
    inputs = baselines.padded(setting, shown)
    longest = max(len(own["conversation"]) for own in views)
    assert inputs["input_ids"].shape == (3 * len(views), longest)
    assert inputs["attention_mask"].sum() == sum(len(view) for own in views for view in own.values())
    # I and the crop in the conversation, I in the question, I and the crop once more in the target
    assert len(inputs["image_grid_thw"]) == 5 * len(views)
    assert (inputs["labels"][len(views) :] == IGNORED).all()


@pytest.mark.slow
def test_the_released_loss_is_the_sum_of_its_parts(exact_setting, float64_losses, monkeypatch):
    """Without its latent terms it is the stock loss over the first third: the other views carry no label."""

    monkeypatch.setattr(baselines, "LAMBDA", 0.0)
    loss, _ = loss_and_gradients("pearl_released", exact_setting)
    wanted, _ = loss_and_gradients("sft_stock", exact_setting)
    torch.testing.assert_close(loss, wanted, rtol=1e-9, atol=0)


def test_the_released_step_copies_the_head_and_trains_through_it(setting, monkeypatch):
    import copy

    copied = []
    deepcopy = copy.deepcopy
    monkeypatch.setattr(copy, "deepcopy", lambda value, *memo: (copied.append(value), deepcopy(value, *memo))[1])
    step = VARIANTS["pearl_released"](setting)
    copied.clear()
    with step.around():
        step.forward().backward()
    assert [type(value).__name__ for value in copied] == ["Linear"]
    trained = [parameter for parameter in step.parameters if parameter.grad is not None]
    assert len(trained) == len(step.parameters)
    step.release()


@pytest.mark.slow
def test_memory_of_the_steps_is_in_the_order_that_it_should_be(setting):
    peaks = {
        name: count_memory(VARIANTS[name](setting)).peak for name in ("sft", "pearl", "sft_stock", "pearl_released")
    }
    assert peaks["pearl"] <= 1.15 * peaks["sft"]
    assert peaks["sft_stock"] > peaks["sft"]
    assert peaks["pearl"] <= 0.4 * peaks["pearl_released"]


def test_the_reconstruction_step_has_latent_tokens_and_no_tool_image(setting):
    """LVR's view: as many slots as the region has tokens, the tower runs on the input image alone."""
    model = LatentVLM(setting.backbone, lvr_objective())
    for trajectory in setting.trajectories:
        (view,) = model.serialize(trajectory).values()
        assert view.needed_images == (0,)
        assert view.slots.sum() == view.slot_sources.shape[0] > 1
        tokenizer = setting.backbone.tokenizer
        shown = [tokenizer.convert_ids_to_tokens(int(view.input_ids[view.slots.nonzero()[at] + by])) for at, by in ENDS]
        assert shown == [LATENT_START, LATENT_END]
    latent, own = load_recipe("lvr").objective, lvr_objective()
    assert str(own) == str(latent).replace("<|lvr_start|>", LATENT_START).replace("<|lvr_end|>", LATENT_END)


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_a_step_leaves_the_backbone_as_it_found_it(variant, setting):
    base = setting.backbone.base
    before = (base.is_activation_checkpointing, base.model.get_placeholder_mask, base.training)
    step = VARIANTS[variant](replace(setting, checkpointing=True))
    with step.around():
        assert base.is_activation_checkpointing
    assert (base.is_activation_checkpointing, base.model.get_placeholder_mask, base.training) == before
    assert not base.get_input_embeddings()._forward_hooks


def test_stock_checkpointing_goes_back_through_the_frozen_tower(setting):
    """What transformers does, and what the package's own steps do not: the hooks are on every part's inputs."""
    own = replace(setting, checkpointing=True)
    tower = setting.backbone.adapter.vision(setting.backbone.base)
    tracked = {}

    def note(name):
        return lambda module, inputs, output: tracked.update({name: output.last_hidden_state.requires_grad})

    for variant in ("sft", "sft_stock"):
        step = VARIANTS[variant](own)
        hook = tower.register_forward_hook(note(variant))
        try:
            with step.around():
                step.forward()
        finally:
            hook.remove()
    assert tracked == {"sft": False, "sft_stock": True}


def test_an_attention_that_transformers_lacks_is_one_message(setting):
    step = VARIANTS["sft_stock"](replace(setting, stock_attention="foo"))
    with pytest.raises(BackboneError, match="The stock steps cannot run with attention 'foo'"), step.around():
        pass
