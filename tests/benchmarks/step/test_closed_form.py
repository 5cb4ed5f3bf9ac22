"""The closed form by hand, and against the counted work of a stock Hugging Face model with LoRA."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from benchmarks.step.closed_form import (
    ExampleSize,
    causal_pairs,
    decoder_backward,
    decoder_forward,
    head,
    mlp,
    pearl_step,
    sft_step,
    slot_pairs,
    vision_forward,
)
from jepa_vlm.cost import DecoderShape, FlopCounter, Shape, VisionShape
from jepa_vlm.cost.memory_estimate import LORA_MODULES

IMAGE, START, END, VOCAB, RANK = 5, 6, 7, 300, 4
GRIDS = ((1, 12, 20), (1, 8, 6))
ATTENTION_ONLY = ("q_proj", "v_proj")


def config():
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": VOCAB,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "hidden_size": 48,
            "intermediate_size": 80,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 2, 2]},
        },
        vision_config={
            "depth": 3,
            "hidden_size": 32,
            "intermediate_size": 44,
            "num_heads": 4,
            "out_hidden_size": 48,
            "patch_size": 4,
            "window_size": 32,
            "fullatt_block_indexes": [1],
        },
        image_token_id=IMAGE,
        vision_start_token_id=START,
        vision_end_token_id=END,
        video_token_id=8,
    )


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(0)
    ids, pixels = [], []
    for _, rows, columns in GRIDS:
        ids += [START, *[IMAGE] * (rows * columns // 4), END]
        ids += torch.randint(10, VOCAB, (25,), generator=generator).tolist()
        pixels.append(torch.randn(rows * columns, 3 * 2 * 4 * 4, generator=generator))
    ids = torch.tensor([ids])
    return {
        "input_ids": ids,
        "mm_token_type_ids": (ids == IMAGE).int(),
        "pixel_values": torch.cat(pixels),
        "image_grid_thw": torch.tensor(GRIDS),
    }


def model_of(modules=None):
    torch.manual_seed(0)
    model = Qwen2_5_VLForConditionalGeneration(config()).requires_grad_(False)
    if modules:
        wanted = rf".*language_model.*\.({'|'.join(modules)})"
        return get_peft_model(model, LoraConfig(r=RANK, lora_alpha=8, lora_dropout=0.0, target_modules=wanted))
    return model


def counted(function):
    with FlopCounter() as counter:
        function()
    return counter.total


def test_stock_forward(inputs):
    shape, model, tokens = Shape.of(config()), model_of(), inputs["input_ids"].shape[1]
    with torch.no_grad():
        count = counted(lambda: model(**inputs, use_cache=False))
    logits = head(shape, tokens) // 2
    vision = sum(vision_forward(shape.vision, grid) for grid in GRIDS)
    assert count == pytest.approx(vision + decoder_forward(shape, tokens, causal_pairs(tokens)) + logits, rel=1e-3)


@pytest.mark.parametrize("grid", [(1, 12, 20), (1, 8, 6), (1, 16, 16), (1, 2, 30), (3, 8, 12)])
def test_stock_vision_tower(grid):
    shape, model = Shape.of(config()), model_of()
    pixels = torch.zeros(grid[0] * grid[1] * grid[2], 3 * 2 * 4 * 4)
    with torch.no_grad():
        count = counted(lambda: model.model.visual(pixels, grid_thw=torch.tensor([grid])))
    assert count == pytest.approx(vision_forward(shape.vision, grid), rel=1e-9)


@pytest.mark.parametrize("modules", [LORA_MODULES, ("q_proj", "k_proj", "v_proj", "up_proj")], ids=["all", "some"])
@pytest.mark.parametrize("input_gradient", [False, True])
def test_stock_training_step_with_lora(inputs, modules, input_gradient):
    shape = Shape.of(config(), lora_rank=RANK, lora_modules=modules)
    model, tokens = model_of(modules), inputs["input_ids"].shape[1]
    if input_gradient:
        model.get_input_embeddings().weight.requires_grad_()

    def step():
        with torch.no_grad():
            features = model.base_model.model.model.get_image_features(
                inputs["pixel_values"], inputs["image_grid_thw"]
            ).pooler_output
        embedded = model.get_input_embeddings()(inputs["input_ids"])
        where = (inputs["input_ids"] == IMAGE)[..., None]
        embedded = embedded.masked_scatter(where, torch.cat(list(features)))
        out = model(
            input_ids=inputs["input_ids"],
            inputs_embeds=embedded,
            mm_token_type_ids=inputs["mm_token_type_ids"],
            image_grid_thw=inputs["image_grid_thw"],
            use_cache=False,
        )
        F.cross_entropy(out.logits[0], inputs["input_ids"][0]).backward()

    pairs = causal_pairs(tokens)
    wanted = sum(vision_forward(shape.vision, grid) for grid in GRIDS) + head(shape, tokens)
    wanted += decoder_forward(shape, tokens, pairs)
    wanted += decoder_backward(shape, tokens, pairs, input_gradient=input_gradient)
    assert counted(step) == pytest.approx(wanted, rel=1e-3)
    example = ExampleSize(context=40, rest=tokens - 40, supervised=tokens, grids=GRIDS)
    if not input_gradient:
        assert sft_step(shape, [example]).total == wanted


def test_a_decoder_trained_in_full_has_gradients_of_its_weights(inputs):
    shape, model, tokens = Shape.of(config()), model_of(), inputs["input_ids"].shape[1]
    model.model.language_model.requires_grad_()
    embedded = torch.zeros(1, tokens, 48, requires_grad=True)
    count = counted(lambda: model.model.language_model(inputs_embeds=embedded, use_cache=False)[0].sum().backward())
    pairs = causal_pairs(tokens)
    wanted = decoder_forward(shape, tokens, pairs) + decoder_backward(shape, tokens, pairs, input_gradient=True)
    assert count == pytest.approx(wanted, rel=1e-3)


# By hand: one layer, hidden 2, one head of width 2, intermediate 3, vocabulary 5.
# Projections: q 4, k 4, v 4, o 4, gate 6, up 6, down 6 = 34 entries.  Rank 1 on q and v: 2 * (2 + 2) = 8 entries.
HAND = Shape(
    DecoderShape(layers=1, hidden=2, heads=1, kv_heads=1, head_dim=2, intermediate=3, vocab=5),
    VisionShape(
        depth=2, hidden=2, intermediate=3, out=2, patch=1, merge=2, temporal=1, channels=1, window=4, full_blocks=1
    ),
    lora_rank=1,
    lora_modules=ATTENTION_ONLY,
)


def test_decoder_by_hand():
    # 7 tokens, 28 pairs: 2 * (34 + 8) * 7 + 8 * 28
    assert decoder_forward(HAND, 7, causal_pairs(7)) == 588 + 224
    # (2 * 34 + 4 * 8) * 7 + 16 * 28
    assert decoder_backward(HAND, 7, 28, input_gradient=True) == 700 + 448
    # without gradient of the input: q, k, v (12 entries) and A of q and v (4 entries) stop at their weights
    assert decoder_backward(HAND, 7, 28, input_gradient=False) == 700 + 448 - 2 * 16 * 7


def test_vision_by_hand():
    # 4 x 6 patches = 2 x 3 merged; window side 2 merged: windows of 2x2 and 2x1 merged = 16 and 8 patches
    embed, linear = 2 * 24 * 1 * 2, 2 * 24 * (4 * 4 + 3 * 6) * 2
    pairs = 24**2 + 16**2 + 8**2
    merger = 2 * 6 * (8 * 8 + 8 * 2)
    assert vision_forward(HAND.vision, (1, 4, 6)) == embed + linear + 4 * 2 * pairs + merger


def test_head_and_mlp_by_hand():
    assert head(HAND, 3) == 4 * 2 * 5 * 3
    assert head(HAND, 3, trained=True) == 6 * 2 * 5 * 3
    assert mlp((4, 3, 2), 10) == 6 * 18 * 10
    assert mlp((4, 3, 2), 10, recomputed=True) == 8 * 18 * 10
    assert mlp((), 10) == 0


def test_mlp_as_counted():
    net = nn.Sequential(nn.Linear(4, 3), nn.GELU(), nn.Linear(3, 2))
    rows = torch.ones(10, 4, requires_grad=True)
    assert counted(lambda: net(rows).sum().backward()) == mlp((4, 3, 2), 10)


EXAMPLE = ExampleSize(context=5, rest=2, supervised=3, trajectory=4, next_pairs=3, grids=((1, 4, 6),))


def test_pearl_is_sft_plus_its_parts_by_hand():
    sft = sft_step(HAND, [EXAMPLE])
    pearl = pearl_step(HAND, [EXAMPLE], slots=2, next_widths=(4, 3, 2))
    assert sft.conversation == 812 + 700 + 448 - 224
    assert sft.total == sft.vision + sft.conversation + sft.head
    assert pearl.vision == sft.vision
    assert pearl.head == sft.head
    assert pearl.conversation == 812 + 1148  # slots in the row: what it is fed needs gradient
    assert pearl.slots == (2 * 42 + 68 + 32) * 2 + 24 * slot_pairs(2, 5)
    assert pearl.target == 2 * 42 * 4 + 8 * 10  # forward only
    assert pearl.next_latent == mlp((4, 3, 2), 3, recomputed=True)


def test_a_target_with_gradient_goes_back_as_well():
    plain, with_gradient = (pearl_step(HAND, [EXAMPLE], target_gradient=flag) for flag in (False, True))
    back = decoder_backward(HAND, 4, 10, input_gradient=True)
    assert with_gradient.total - plain.total == back


def test_checkpointing_runs_rows_with_gradient_again_and_no_others():
    plain, again = (pearl_step(HAND, [EXAMPLE], slots=2, checkpointing=flag) for flag in (False, True))
    forward = decoder_forward(HAND, 7, 28) + decoder_forward(HAND, 2, slot_pairs(2, 5))
    assert again.total - plain.total == forward


def test_no_slots_and_no_target_cost_what_sft_costs():
    bare = ExampleSize(context=5, rest=2, supervised=3, grids=((1, 4, 6),))
    assert pearl_step(HAND, [bare, bare], slots=0).total == sft_step(HAND, [bare, bare]).total


def test_real_sizes_reach_the_known_ratio():
    """Three images' worth of a 3B model with lengths of the LVR kind: about 1.12 of the next-token step."""
    shape = Shape(
        DecoderShape(layers=36, hidden=2048, heads=16, kv_heads=2, head_dim=128, intermediate=11008, vocab=151936),
        VisionShape(
            depth=32,
            hidden=1280,
            intermediate=3420,
            out=2048,
            patch=14,
            merge=2,
            temporal=2,
            channels=3,
            window=112,
            full_blocks=4,
        ),
        lora_rank=16,
    )
    example = ExampleSize(
        context=395, rest=158, supervised=60, trajectory=158, next_pairs=4 * 156, grids=((1, 36, 36), (1, 16, 20))
    )
    ratio = pearl_step(shape, [example], next_widths=(4096, 2048, 2048)).total / sft_step(shape, [example]).total
    assert ratio == pytest.approx(1.12, abs=0.02)
