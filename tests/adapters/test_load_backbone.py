from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import jepa_vlm as jv
from jepa_vlm import playground
from jepa_vlm.errors import BackboneError, UnknownNameError

TINY = "tiny-random-qwen2.5-vl"


def inputs_of(backbone: jv.Backbone, text: str = "What color?") -> dict[str, torch.Tensor]:
    content = [{"type": "image", "image": Image.new("RGB", (112, 112), "red")}, {"type": "text", "text": text}]
    made = backbone.processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=True, return_dict=True, return_tensors="pt"
    )
    return dict(made)


def test_the_seed_makes_the_weights() -> None:
    one, same, other = (jv.load_backbone(TINY, seed=seed).model.state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[k], same[k]) for k in one)
    assert any(not torch.equal(one[k], other[k]) for k in one)


def test_building_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    jv.load_backbone(TINY, seed=9)
    assert torch.equal(torch.rand(3), expected)


def test_about_a_million_parameters() -> None:
    backbone = jv.load_backbone(TINY)
    assert 1e6 < sum(p.numel() for p in backbone.model.parameters()) < 2e6
    assert backbone.dim == 128
    assert inputs_of(backbone)["mm_token_type_ids"].sum() == 49


def test_every_playground_word_is_one_token() -> None:
    tokenizer = jv.load_backbone(TINY).tokenizer
    for word in playground.words():
        apart = word.isdigit() or word[0] in "<_"  # as in Qwen's own tokenizer, apart from the space before
        assert len(tokenizer(word if apart else " " + word, add_special_tokens=False).input_ids) == 1, word


def test_a_folder_loads_with_stock_transformers_and_with_us(tmp_path: Path) -> None:
    backbone = jv.load_backbone(TINY, seed=3)
    backbone.model.save_pretrained(tmp_path)
    backbone.processor.save_pretrained(tmp_path)
    again = jv.load_backbone(str(tmp_path))
    expected = backbone.base(**inputs_of(backbone)).logits
    assert torch.equal(again.base(**inputs_of(again)).logits, expected)
    save_file({**inputs_of(backbone), "expected": expected.contiguous()}, tmp_path / "call.st")
    code = (
        "import sys, torch, transformers\n"
        "from safetensors.torch import load_file\n"
        f"folder = {str(tmp_path)!r}\n"
        "model = transformers.AutoModelForImageTextToText.from_pretrained(folder)\n"
        "call = load_file(folder + '/call.st')\n"
        "expected = call.pop('expected')\n"
        "assert torch.equal(model(**call).logits, expected)\n"
        "assert not any(name.startswith('jepa_vlm') for name in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


def test_visual_tokens_bound_an_image() -> None:
    backbone = jv.load_backbone(TINY, visual_tokens=16)
    assert inputs_of(backbone)["mm_token_type_ids"].sum() <= 16
    with pytest.raises(BackboneError, match="at least 1"):
        jv.load_backbone(TINY, visual_tokens=0)


def test_dtype() -> None:
    assert jv.load_backbone(TINY, dtype="bfloat16").base.dtype == torch.bfloat16
    with pytest.raises(UnknownNameError, match="bfloat16"):
        jv.load_backbone(TINY, dtype="bfloat")


def test_an_unknown_name_says_which_come_close() -> None:
    with pytest.raises(UnknownNameError, match=r"Did you mean 'tiny-random-qwen2\.5-vl'"):
        jv.load_backbone("tiny-random-qwen2.5")


def test_a_named_backbone_without_adapter_is_refused_before_anything_is_fetched() -> None:
    with pytest.raises(BackboneError, match="'qwen3_vl', which has no adapter yet"):
        jv.load_backbone("qwen3-vl-4b")


def test_missing_and_wrong_folders(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="does not exist"):
        jv.load_backbone(str(tmp_path / "nothing"))
    with pytest.raises(BackboneError, match=r"no config\.json"):
        jv.load_backbone(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UnknownNameError, match="No adapter named 'bert'"):
        jv.load_backbone(str(tmp_path))


def test_a_folder_without_processor_is_one_message(tmp_path: Path) -> None:
    jv.load_backbone(TINY).model.save_pretrained(tmp_path)
    with pytest.raises(BackboneError, match="Cannot load folder"):
        jv.load_backbone(str(tmp_path))


def test_an_unreachable_hub_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import jepa_vlm as jv\n"
        "from jepa_vlm.errors import BackboneError\n"
        "try:\n    jv.load_backbone('qwen2.5-vl-3b')\n"
        "except BackboneError as err:\n    print(err)\n"
    )
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", "/nonexistent-cache")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Qwen/Qwen2.5-VL-3B-Instruct" in done.stdout
    assert "give the folder" in done.stdout
