"""``one_pass`` equals ``separate``: every loss, every gradient, on random trajectories; planted mistakes are seen."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AttentionInterface, Qwen2_5_VLForConditionalGeneration

import jepa_vlm as jv
from jepa_vlm.engine import Batch, attention
from jepa_vlm.engine.batch import Layout
from jepa_vlm.latent_vlm import LatentVLM
from tests.engine.kernel import Kernel
from tests.factories import back_propagated, lora_backbone, pearl_objective, random_batch, random_trajectory, seeds

Result = tuple[dict[str, Tensor], dict[str, Tensor]]
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5}


def run(model: LatentVLM, batch: Batch) -> Result:
    terms, gradients = back_propagated(model, batch)
    return {**terms.raw, "total": terms.total.detach()}, gradients


def worst(one: Result, other: Result) -> float:
    """Largest relative difference, over losses and over gradient tensors (norm of the difference by norm)."""
    assert one[0].keys() == other[0].keys()
    assert one[1].keys() == other[1].keys()
    losses = [float((one[0][n] - other[0][n]).detach().abs() / other[0][n].detach().abs()) for n in one[0]]
    # A gradient that is zero up to rounding has no relative size; it is measured against the median gradient.
    floor = 1e-6 * torch.stack([g.norm() for g in other[1].values()]).median()
    gradients = [float((one[1][n] - g).norm() / torch.maximum(g.norm(), floor)) for n, g in other[1].items()]
    return max(losses + gradients)


def compare(objective: jv.Objective, trajectories: list[jv.Trajectory], dtype: torch.dtype) -> float:
    backbone = lora_backbone(dtype)
    results = []
    for engine in ("one_pass", "separate"):
        model = LatentVLM(backbone, objective, engine=engine)
        for average in model.target_weights.buffers():
            average.mul_(0.5)  # as if the adapter had moved away from its average
        results.append(run(model, model.collator()(trajectories)))
    return worst(results[0], results[1])


@pytest.mark.parametrize("seed", seeds(4, 20))
def test_engines_agree_on_pearl_in_float64(seed: int, pure_float64: None) -> None:
    assert compare(pearl_objective(horizon=1 + seed % 3), random_batch(seed), torch.float64) < 1e-9


@pytest.mark.parametrize("seed", seeds(2, 20))
def test_engines_agree_on_pearl_in_float32(seed: int) -> None:
    assert compare(pearl_objective(horizon=1 + seed % 3), random_batch(seed), torch.float32) < 1e-5


def prediction(**changes: Any) -> jv.LatentPrediction:
    parts: dict[str, Any] = {
        "context": jv.ViewEncoder(jv.views.Question(), readout="last_pred"),
        "predictor": jv.PredTokenPredictor(tokens=2),
        "target": jv.ViewEncoder(jv.views.TrajectoryOnly(), readout="last_token", policy=jv.stop_gradient()),
        "loss": jv.SmoothL1Loss(),
    }
    return jv.LatentPrediction(**{**parts, **changes})


def trajectory_target(context: str, readout: str, policy: Any) -> jv.ViewEncoder:
    return jv.ViewEncoder(jv.views.TrajectoryOnly(context=context), readout=readout, policy=policy)


K0 = {"context": jv.ViewEncoder(jv.views.Question(), readout="last_token"), "predictor": jv.IdentityPredictor()}
MEANS = {"context": jv.ViewEncoder(jv.views.Question(), readout="mean"), "predictor": jv.MLPPredictor()}
AT_END = {"context": jv.ViewEncoder(jv.views.Question(), readout="turn_end")}
OTHERS: dict[str, Callable[[], Any]] = {
    "sft": lambda: jv.NextToken(),
    "last turn only": lambda: jv.NextToken(trained="last") + jv.NextToken(),
    "no tokens": lambda: prediction(**K0),
    "means": lambda: jv.NextToken() + prediction(**MEANS, target=trajectory_target("none", "mean", jv.stop_gradient())),
    "released": lambda: (
        jv.NextToken()
        + prediction(**AT_END, target=trajectory_target("image", "turn_end", jv.stop_gradient()), loss=jv.CosineLoss())
        + jv.NextLatentRegularizer(positions="supervised", horizon=2)
    ),
    "target is the conversation": lambda: (
        jv.NextToken() + prediction(target=trajectory_target("question", "turn_end", jv.stop_gradient()))
    ),
    "gradient through the target": lambda: (
        jv.NextToken() + prediction(target=trajectory_target("none", "last_token", jv.with_gradient()))
    ),
    "gradient through a target with image": lambda: (
        jv.NextToken() + prediction(target=trajectory_target("image", "last_token", jv.with_gradient()))
    ),
    "frozen target": lambda: jv.NextToken() + prediction(target=trajectory_target("none", "last_token", jv.frozen())),
    "ema target": lambda: jv.NextToken() + prediction(target=trajectory_target("none", "last_token", jv.ema(0.9))),
    "two predictions": lambda: prediction() + 0.5 * prediction(predictor=jv.PredTokenPredictor(tokens=3)),
    "next latent on the trajectory view": lambda: (
        jv.NextToken() + prediction() + jv.NextLatentRegularizer(view=jv.views.TrajectoryOnly(), horizon=3)
    ),
    "next latent everywhere with KL": lambda: jv.NextLatentRegularizer(positions="all", horizon=2, kl_weight=0.1),
    "next latent without tokens": lambda: jv.NextToken() + jv.NextLatentRegularizer(condition="none"),
    "infonce": lambda: prediction(loss=jv.InfoNCELoss()),
    "the answer beside the trajectory": lambda: (
        jv.NextToken()
        + prediction(target=jv.ViewEncoder(jv.views.Answer(), policy=jv.stop_gradient()))
        + prediction(target=jv.ViewEncoder(jv.views.Answer(), readout="mean", policy=jv.with_gradient()))
        + prediction()
    ),
    "llm_jepa": lambda: jv.load_recipe("llm_jepa").objective,
    "next_latent": lambda: jv.load_recipe("next_latent", horizon=2).objective,
    "vl_jepa": lambda: jv.load_recipe("vl_jepa", width=16, temperature="learned").objective,
}


@pytest.mark.parametrize("name", OTHERS)
def test_engines_agree_on_every_composition_in_float64(name: str, pure_float64: None) -> None:
    generator = torch.Generator().manual_seed(5)
    trajectories = [random_trajectory(generator, str(i), calls=i) for i in range(3)]
    assert compare(OTHERS[name](), trajectories, torch.float64) < 1e-9


def test_engines_agree_on_images_anywhere_and_turns_of_crops_alone_in_float64(pure_float64: None) -> None:
    drawn = [random_trajectory(torch.Generator().manual_seed(seed), str(seed), calls=1) for seed in (2, 3, 4)]
    look, *said = drawn[0].steps
    shapes = [
        replace(drawn[0], question="like  this?", image_places=(5,) * len(drawn[0].images)),
        replace(drawn[1], question="which? ", image_places=(7,) * len(drawn[1].images)),
        replace(drawn[2], question="", steps=(replace(look, text="", call=None), *said)),
    ]
    assert compare(pearl_objective(horizon=2), shapes, torch.float64) < 1e-9


def test_engines_agree_with_windowed_vision_attention_in_float64(pure_float64: None) -> None:
    """As in the large models: most vision layers see windows, of which an image has several."""
    config = copy.deepcopy(lora_backbone().base.config)
    config.vision_config.window_size, config.vision_config.fullatt_block_indexes = 32, [1]
    torch.manual_seed(0)
    model = Qwen2_5_VLForConditionalGeneration(config).double().requires_grad_(False)
    plain = jv.load_backbone("tiny-random-qwen2.5-vl")
    backbone = jv.Backbone("windowed", model, plain.processor, type(plain.adapter)(config=config))
    results = []
    for engine in ("one_pass", "separate"):
        latent_vlm = LatentVLM(backbone, pearl_objective(), engine=engine)
        batch = latent_vlm.collator()(random_batch(6))
        if engine == "one_pass":
            windows = batch.images["image_cu_window_seqlens"]
            assert len(windows) - 1 > len(batch.images["image_grid_thw"])
        results.append(run(latent_vlm, batch))
    assert worst(*results) < 1e-9


def test_gradient_checkpointing_changes_no_loss_and_no_gradient(pure_float64: None) -> None:
    backbone = lora_backbone(torch.float64)
    model = LatentVLM(backbone, pearl_objective(horizon=2))
    batch = model.collator()(random_batch(3))
    plain = run(model, batch)
    model.activation_checkpointing_enable()
    assert model.is_activation_checkpointing
    assert worst(run(model, batch), plain) < 1e-12


def test_engines_agree_on_the_kernel_in_float64(kernel: Kernel, pure_float64: None) -> None:
    assert compare(pearl_objective(horizon=2), random_batch(4), torch.float64) < 1e-9
    config = jv.load_backbone("tiny-random-qwen2.5-vl").base.config
    text, vision = config.text_config.num_hidden_layers, config.vision_config.depth
    assert len(kernel.calls) == vision + text + 2 * text  # the tower, the target's row, segments and suffixes


# Planted mistakes: the comparison above must see each of them.


def dense_with(change: Callable[[Tensor, Layout], None]) -> Callable[..., Any]:
    def attend(module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **kwargs: Any) -> Any:
        layout = kwargs.pop("packed_layout", None)
        if layout is None:
            return attention.packed_attention(module, query, key, value, attention_mask, **kwargs)
        mask = attention.dense_mask(layout)
        if layout.suffixes:
            change(mask, layout)
        out = torch.nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, scale=kwargs["scaling"], enable_gqa=True
        )
        return out.transpose(1, 2), None

    return attend


def trajectory_sees_slots(mask: Tensor, layout: Layout) -> None:
    mask[layout.suffixes[0].prefix : layout.segments[0], sum(layout.segments)] = True


def slots_see_each_other_both_ways(mask: Tensor, layout: Layout) -> None:
    start = sum(layout.segments)
    mask[start : start + layout.suffixes[0].length, start : start + layout.suffixes[0].length] = True


def slots_see_the_trajectory(batch: Batch) -> None:
    row = batch.sequences["gradient"]
    longer = tuple(replace(suffix, prefix=suffix.prefix + 1) for suffix in row.layout.suffixes)
    batch.sequences["gradient"] = replace(row, layout=replace(row.layout, suffixes=longer))


def target_sees_its_neighbour(batch: Batch) -> None:
    row = batch.sequences["current"]
    first, second, *rest = row.layout.segments
    batch.sequences["current"] = replace(row, layout=replace(row.layout, segments=(first + second, *rest)))


def slots_stand_one_too_far(batch: Batch) -> None:
    row = batch.sequences["gradient"]
    row.positions[:, row.soft_tokens["latent_prediction"].at] += 1


def positions_in_one_dimension(batch: Batch) -> None:
    row = batch.sequences["gradient"]
    ends = torch.tensor(row.layout.segments).cumsum(0).tolist()
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        row.positions[:, start:end] = torch.arange(end - start)


def readouts_swapped(batch: Batch) -> None:
    request, read = next((request, read) for request, read in batch.reads.items() if request.reads_one)
    batch.reads[request] = replace(read, index=read.index.roll(1))


@pytest.mark.parametrize(
    "mistake",
    [
        slots_see_the_trajectory,
        target_sees_its_neighbour,
        slots_stand_one_too_far,
        positions_in_one_dimension,
        readouts_swapped,
    ],
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_planted_mistakes_in_the_plan_are_detected(
    mistake: Callable[[dict[str, Any]], None], dtype: torch.dtype, pure_float64: None
) -> None:
    assert difference_after(mistake, dtype) > 10 * TOLERANCE[dtype]


@pytest.mark.parametrize("mistake", [trajectory_sees_slots, slots_see_each_other_both_ways])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_planted_mistakes_in_the_mask_are_detected(
    mistake: Callable[..., None], dtype: torch.dtype, pure_float64: None
) -> None:
    try:
        AttentionInterface.register(attention.NAME, dense_with(lambda mask, layout: None))
        assert difference_after(lambda batch: None, dtype) < TOLERANCE[dtype]  # the harness itself plants nothing
        AttentionInterface.register(attention.NAME, dense_with(mistake))
        assert difference_after(lambda batch: None, dtype) > 10 * TOLERANCE[dtype]
    finally:
        AttentionInterface.register(attention.NAME, attention.packed_attention)


def difference_after(mistake: Callable[[dict[str, Any]], None], dtype: torch.dtype) -> float:
    generator = torch.Generator().manual_seed(11)
    trajectories = [random_trajectory(generator, str(i), calls=i) for i in (1, 2)]
    backbone = lora_backbone(dtype)
    model = LatentVLM(backbone, pearl_objective())
    batch = model.collator()(trajectories)
    mistake(batch)
    reference = LatentVLM(backbone, pearl_objective(), engine="separate")
    return worst(run(model, batch), run(reference, reference.collator()(trajectories)))
