"""The steps that this package is compared with: stock supervised fine-tuning, and the released code of Pearl."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from benchmarks.step.training_step import Setting, Step
from jepa_vlm.adapters import Backbone
from jepa_vlm.adapters.inside_peft import without_input_casts
from jepa_vlm.engine import Batch
from jepa_vlm.errors import BackboneError
from jepa_vlm.latent_vlm import LatentVLM
from jepa_vlm.objectives import NextToken
from jepa_vlm.recipe import load_recipe
from jepa_vlm.regularizers.next_latent import LatentDynamics
from jepa_vlm.views import IGNORED, TokenizedView

Shown = tuple[TokenizedView, Sequence[dict[str, Tensor]]]  # a view, and what the processor made of its images


def sft_stock(setting: Setting) -> Step:
    """Return the step as ``transformers.Trainer`` runs it.

    Views are padded on the right, the stock forward gets the labels, and all logits are computed.
    """
    model = LatentVLM(setting.backbone, NextToken(), seed=setting.seed)
    views = [model.serialize(trajectory)["conversation"] for trajectory in setting.trajectories]
    inputs = padded(setting, list(zip(views, images_of(setting), strict=True)))

    def loss() -> Tensor:
        found: Tensor = stock_forward(setting.backbone, inputs).loss
        return found

    return Step(setting=setting, loss=loss, module=setting.backbone.model, around=lambda: stock_context(setting))


def images_of(setting: Setting) -> list[list[dict[str, Tensor]]]:
    """Return what the processor makes of every image, by example."""
    processor = setting.backbone.processor.image_processor
    return [
        [dict(processor(images=[image.load()], return_tensors="pt")) for image in trajectory.all_images]
        for trajectory in setting.trajectories
    ]


def padded(setting: Setting, shown: Sequence[Shown]) -> dict[str, Any]:
    """Return the stock model's inputs: every view padded on the right to the longest, all images of all views."""
    device, pad = setting.device, setting.backbone.tokenizer.pad_token_id
    views = [view for view, _ in shown]
    images = [images[number] for view, images in shown for number in view.images]
    inputs: dict[str, Any] = {
        "input_ids": _joined([view.input_ids for view in views], pad),
        "labels": _joined([view.labels for view in views], IGNORED),
        "attention_mask": _joined([torch.ones(len(view), dtype=torch.long) for view in views], 0),
        "mm_token_type_ids": _joined([view.image_tokens.int() for view in views], 0),
        "pixel_values": torch.cat([image["pixel_values"] for image in images]),
        "image_grid_thw": torch.cat([image["image_grid_thw"] for image in images]),
    }
    if device.type == "meta":
        return _without_lookups(setting.backbone, inputs, views, images)
    return {name: tensor.to(device) for name, tensor in inputs.items()}


def stock_forward(backbone: Backbone, inputs: dict[str, Any], **options: Any) -> Any:
    """Run the stock forward, PEFT's wrapper around it."""
    made = dict(inputs)
    if (images := made.pop("meta_images", None)) is not None:
        made["mm_encoder_outputs"] = {"image": backbone.base.model.get_image_features(**images, return_dict=True)}
    return backbone.model(**made, use_cache=False, **options)


@contextmanager
def stock_context(setting: Setting) -> Iterator[None]:
    """Let every layer call transformers' attention, and checkpoint as transformers does, hooks on the tower included.

    PEFT's casts stay on, except on the meta device: without autocast behind them they would mean float32 products.

    Raises:
        BackboneError: If transformers has no attention of that name, or its package is missing.
    """
    base, meta = setting.backbone.base, setting.device.type == "meta"
    try:
        base.set_attn_implementation(setting.stock_attention)
    except (ValueError, ImportError) as err:
        reason = next(iter(str(err).splitlines()), type(err).__name__)
        raise BackboneError(
            f"The stock steps cannot run with attention {setting.stock_attention!r}: {reason}"
        ) from None
    placeholder_mask = base.model.get_placeholder_mask
    if meta:
        base.model.get_placeholder_mask = _no_mask
    if setting.checkpointing:
        base.activation_checkpointing_enable()
    try:
        with without_input_casts(setting.backbone.model, active=meta):
            yield
    finally:
        if setting.checkpointing:
            base.disable_input_require_grads()  # disabling leaves the hooks
            base.activation_checkpointing_disable()
        base.model.get_placeholder_mask = placeholder_mask


def _joined(rows: Sequence[Tensor], fill: int) -> Tensor:
    return pad_sequence(list(rows), batch_first=True, padding_value=fill)


def _without_lookups(
    backbone: Backbone, inputs: dict[str, Any], views: Sequence[TokenizedView], images: Sequence[dict[str, Tensor]]
) -> dict[str, Any]:
    """Return inputs for the meta device, where the model can look nothing up: positions and masks ready-made."""
    batch, width = inputs["input_ids"].shape
    positions = pad_sequence([view.positions.T for view in views], batch_first=True).permute(2, 0, 1)
    tower = on_meta({"images": backbone.adapter.collate_images(images)})["images"]
    return {
        "input_ids": inputs["input_ids"].to("meta"),
        "labels": inputs["labels"].to("meta"),
        "position_ids": positions.to("meta"),
        "attention_mask": {"full_attention": torch.ones(batch, 1, width, width, dtype=torch.bool, device="meta")},
        "meta_images": tower,
    }


def on_meta(batch: Any) -> Any:
    """Return a batch with its tensors on the meta device, except those whose values decide shapes on the host."""
    if isinstance(batch, Tensor):
        return batch.to("meta")
    if isinstance(batch, Batch):
        return replace(replace(batch, images=None).to("meta"), images=on_meta(batch.images))
    if isinstance(batch, dict):
        return {name: value if _decides_shapes(name) else on_meta(value) for name, value in batch.items()}
    return [on_meta(value) for value in batch] if isinstance(batch, list) else batch


def _decides_shapes(name: Any) -> bool:
    return name in ("image_grid_thw", "image_cu_seqlens", "image_cu_window_seqlens")


def _no_mask(input_ids: Tensor, inputs_embeds: Tensor, **images: Any) -> tuple[Tensor, None]:
    return torch.empty_like(inputs_embeds, dtype=torch.bool), None


LAMBDA = 0.2
VIEWS = ("conversation", "question", "trajectory")


def pearl_released(setting: Setting) -> Step:
    """Return the step of Pearl's released code, re-created: three views of each example in one padded batch.

    The exact step saves these costs: every view is padded to the longest, each view runs the vision tower and the head
    anew, the states of all layers stay in memory, and every step copies the head for the next-latent term, which
    computes all logits once more. Dropout and adapters on the vision tower are left out, which makes the released step
    cheaper. Its attention is that of the stock steps.
    """
    backbone = setting.backbone
    model = LatentVLM(backbone, load_recipe("pearl_released", dropout=0.0).objective, seed=setting.seed)
    views = [model.serialize(trajectory) for trajectory in setting.trajectories]
    images = images_of(setting)
    shown = [(own[name], pictures) for name in VIEWS for own, pictures in zip(views, images, strict=True)]
    inputs = padded(setting, shown)
    dynamics = LatentDynamics(
        dim=backbone.dim, condition="token", generator=torch.Generator().manual_seed(setting.seed)
    ).to(setting.device)
    ends = {name: [own[name].readouts["turn_end"] for own in views] for name in VIEWS}
    count = len(views)

    def loss() -> Tensor:
        out = stock_forward(backbone, inputs, output_hidden_states=True)
        whole, question, trajectory = out.hidden_states[-1].split(count)
        predicted, target = _at(question, ends["question"]), _at(trajectory, ends["trajectory"]).detach()
        apart = (1 - F.cosine_similarity(predicted.float(), target.float())).mean()
        following = backbone.base.get_input_embeddings()(inputs["input_ids"][:count])
        head = copy.deepcopy(backbone.base.get_output_embeddings())
        total: Tensor = out.loss + LAMBDA * (apart + _next(dynamics, whole, following, inputs["labels"][:count], head))
        return total

    return Step(
        setting=setting,
        loss=loss,
        module=nn.ModuleList([backbone.model, dynamics]),
        around=lambda: stock_context(setting),
    )


def _at(states: Tensor, ends: list[int]) -> Tensor:
    return torch.stack([own[end] for own, end in zip(states, ends, strict=True)])


def _next(dynamics: LatentDynamics, states: Tensor, following: Tensor, labels: Tensor, head: Any) -> Tensor:
    """Return the state and the token part of the next-latent term, at supervised positions."""
    state, after, target = (
        rearrange(part, "batch tokens dim -> (batch tokens) dim")
        for part in (states[:, :-1], following[:, 1:], states[:, 1:].detach())
    )
    wanted = rearrange(labels[:, 1:], "batch tokens -> (batch tokens)")
    guess = dynamics(state, after)
    keep = (wanted != IGNORED).to(guess.dtype)
    off = F.smooth_l1_loss(guess, target.to(guess.dtype), reduction="none").mean(dim=-1)
    logits = head(guess.to(states.dtype)).float()
    return (off * keep).sum() / keep.sum() + F.cross_entropy(logits, wanted, ignore_index=IGNORED)
