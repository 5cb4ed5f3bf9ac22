from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Qwen2_5_VLForConditionalGeneration

import jepa_vlm as jv
from jepa_vlm.adapters import Backbone
from jepa_vlm.engine import OnePass, vision_attention
from tests.factories import pearl_objective, random_batch

SIZES = ((112, 112), (48, 48), (112, 112), (80, 32), (48, 48), (20, 100))


def windowed_backbone() -> Backbone:
    """Windows of 4 x 4 patches in all vision layers but one; the whole tower trains."""
    plain = jv.load_backbone("tiny-random-qwen2.5-vl")
    config = copy.deepcopy(plain.base.config)
    config.vision_config.window_size, config.vision_config.fullatt_block_indexes = 32, [1]
    torch.manual_seed(0)
    model = Qwen2_5_VLForConditionalGeneration(config).double()
    return Backbone("windowed", model, plain.processor, type(plain.adapter)(config=config))


def pictures(backbone: Backbone, sizes: tuple[tuple[int, int], ...]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    read = backbone.processor.image_processor
    made = [
        dict(read(images=[torch.randint(0, 256, (3, h, w), generator=generator).byte().numpy()], return_tensors="pt"))
        for w, h in sizes
    ]
    images = backbone.adapter.collate_images(made)
    return {**images, "pixel_values": images["pixel_values"].double()}


def features_and_gradients(backbone: Backbone, images: dict[str, Tensor]) -> dict[str, Tensor]:
    tower = backbone.adapter.vision(backbone.base)
    tower.zero_grad()
    features = backbone.adapter.encode_images(backbone.base, images)
    features.pow(2).sum().backward()
    return {"features": features.detach(), **{name: p.grad.clone() for name, p in tower.named_parameters()}}


def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets each later call's batch size."""
    seen: list[int] = []
    stock = F.scaled_dot_product_attention

    def counted(query: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        seen.append(len(query))
        return stock(query, *args, **kwargs)

    monkeypatch.setattr(F, "scaled_dot_product_attention", counted)
    return seen


def test_windows_and_images_of_many_sizes_equal_the_stock_tower(pure_float64: None) -> None:
    backbone = windowed_backbone()
    images = pictures(backbone, SIZES)
    lengths = images["image_cu_window_seqlens"].diff()
    assert len(lengths) > len(set(lengths.tolist())) > 2
    stock = features_and_gradients(backbone, images)
    OnePass().prepare(backbone)
    ours = features_and_gradients(backbone, images)
    assert ours.keys() == stock.keys()
    for name, value in stock.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-9, atol=1e-9 * float(value.abs().max()), msg=name)


def test_calls_grow_with_the_distinct_lengths_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = jv.load_backbone("tiny-random-qwen2.5-vl", dtype="float64")
    OnePass().prepare(backbone)
    seen = calls(monkeypatch)
    counts = []
    for sizes in (SIZES[:1], SIZES[:1] * 4, SIZES):
        seen.clear()
        backbone.adapter.encode_images(backbone.base, pictures(backbone, sizes))
        counts.append(len(seen))
    layers = backbone.base.config.vision_config.depth
    assert counts == [layers, layers, 4 * layers]


def test_engines_that_share_a_backbone_keep_their_own_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else ``one_pass`` would be compared with itself, or a run beside a comparison would be slow."""
    backbone = jv.load_backbone("tiny-random-qwen2.5-vl")
    packed = jv.LatentVLM(backbone, pearl_objective())
    reference = jv.LatentVLM(backbone, pearl_objective(), engine="separate")
    seen = calls(monkeypatch)
    packed(packed.collator()(random_batch(0)))
    assert backbone.base.config.vision_config._attn_implementation == vision_attention.NAME
    seen.clear()
    reference(reference.collator()(random_batch(0)))
    assert backbone.base.config.vision_config._attn_implementation == "sdpa"
    assert backbone.base.config.text_config._attn_implementation == "sdpa"
    assert set(seen) == {1}


def test_a_family_without_chunks_keeps_its_tower_s_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = jv.load_backbone("tiny-random-qwen2.5-vl")
    monkeypatch.setattr(type(backbone.adapter), "chunked_vision", False)
    OnePass().prepare(backbone)
    assert backbone.base.config.vision_config._attn_implementation == "sdpa"


def test_a_saved_model_names_no_attention_of_ours(tmp_path: Path) -> None:
    backbone = jv.load_backbone("tiny-random-qwen2.5-vl")
    OnePass().prepare(backbone)
    backbone.base.save_pretrained(tmp_path)
    assert "jepa_vlm" not in (tmp_path / "config.json").read_text()


def test_chunks_do_not_see_each_other() -> None:
    query, key, value = (torch.randn(1, 3, 7, 4, dtype=torch.float64) for _ in range(3))
    ends = torch.tensor([0, 2, 5, 7])
    out, _ = vision_attention.chunk_attention(nn.Identity(), query, key, value, None, cu_seq_lens_q=ends)
    member = torch.bucketize(torch.arange(7), ends[1:], right=True)
    mask = member[:, None] == member
    dense = F.scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2)
    torch.testing.assert_close(out, dense, rtol=1e-12, atol=1e-12)
