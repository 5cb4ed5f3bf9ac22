from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import jepa_vlm as jv
from jepa_vlm import adapters, playground
from jepa_vlm.adapters import ADAPTERS, families, loading
from jepa_vlm.errors import BackboneError, JepaVLMError, UnknownNameError

TINY = "tiny-random-qwen2.5-vl"


def inputs_of(backbone: jv.Backbone, text: str = "What color?") -> dict[str, torch.Tensor]:
    content = [{"type": "image", "image": Image.new("RGB", (112, 112), "red")}, {"type": "text", "text": text}]
    made = backbone.processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=True, return_dict=True, return_tensors="pt"
    )
    return dict(made)


def test_the_seed_decides_the_weights_of_a_tiny_model() -> None:
    one, same, other = (jv.load_backbone(TINY, seed=seed).model.state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[k], same[k]) for k in one)
    assert any(not torch.equal(one[k], other[k]) for k in one)


def test_building_a_model_leaves_the_global_generator_unchanged() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    jv.load_backbone(TINY, seed=9)
    assert torch.equal(torch.rand(3), expected)


def test_a_tiny_model_has_about_a_million_parameters() -> None:
    backbone = jv.load_backbone(TINY)
    assert 1e6 < sum(p.numel() for p in backbone.model.parameters()) < 2e6
    assert backbone.dim == 128
    assert inputs_of(backbone)["mm_token_type_ids"].sum() == 49


def test_every_playground_word_is_one_token() -> None:
    tokenizer = jv.load_backbone(TINY).tokenizer
    for word in playground.words():
        apart = word.isdigit() or word[0] in "<_"  # as in Qwen's own tokenizer, apart from the space before
        assert len(tokenizer(word if apart else " " + word, add_special_tokens=False).input_ids) == 1, word


@pytest.mark.slow
def test_a_folder_loads_with_stock_transformers_and_with_us(tmp_path: Path) -> None:
    backbone = jv.load_backbone(TINY, seed=3)
    backbone.model.save_pretrained(tmp_path)
    backbone.processor.save_pretrained(tmp_path)
    again = jv.load_backbone(str(tmp_path))
    expected = backbone.base(**inputs_of(backbone)).logits
    assert torch.equal(again.base(**inputs_of(backbone)).logits, expected)
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


def test_the_limit_of_visual_tokens_bounds_an_image() -> None:
    backbone = jv.load_backbone(TINY, visual_tokens=16)
    assert inputs_of(backbone)["mm_token_type_ids"].sum() <= 16
    with pytest.raises(BackboneError, match="at least 1"):
        jv.load_backbone(TINY, visual_tokens=0)


def test_a_backbone_has_the_requested_dtype() -> None:
    assert jv.load_backbone(TINY, dtype="bfloat16").base.dtype == torch.bfloat16
    with pytest.raises(UnknownNameError, match="bfloat16"):
        jv.load_backbone(TINY, dtype="bfloat")


def test_an_unknown_name_says_which_come_close() -> None:
    with pytest.raises(UnknownNameError, match=r"Did you mean 'tiny-random-qwen2\.5-vl'"):
        jv.load_backbone("tiny-random-qwen2.5vl")


def test_missing_and_wrong_model_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="does not exist"):
        jv.load_backbone(str(tmp_path / "nothing"))
    with pytest.raises(BackboneError, match=r"no config\.json"):
        jv.load_backbone(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UnknownNameError, match="No adapter named 'bert'"):
        jv.load_backbone(str(tmp_path))


def saved(folder: Path, name: str = TINY) -> jv.Backbone:
    backbone = jv.load_backbone(name)
    backbone.model.save_pretrained(folder)
    backbone.processor.save_pretrained(folder)
    return backbone


def changed(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize(
    ("file", "what"), [("processor_config.json", "image processor"), ("tokenizer.json", "tokenizer")]
)
def test_a_missing_file_of_the_processor_is_named(tmp_path: Path, file: str, what: str) -> None:
    saved(tmp_path)
    (tmp_path / file).unlink()
    with pytest.raises(BackboneError, match=rf"has no {what} \(.*{re.escape(file)}.*; copy it from the model"):
        jv.load_backbone(str(tmp_path))


def test_weights_that_transformers_would_make_up_are_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    left_out = next(name for name in weights if name.endswith("gate_proj.weight"))
    save_file({k: v for k, v in weights.items() if k != left_out}, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        BackboneError, match=r"leave out 1 of the model's, .*gate_proj\.weight first, which would be random"
    ):
        jv.load_backbone(str(tmp_path))


def test_truncated_weights_and_other_shapes_are_one_message(tmp_path: Path) -> None:
    saved(tmp_path)
    weights = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(BackboneError, match=r"Cannot load folder .*header.*\. To mend it, check that it holds a whole"):
        jv.load_backbone(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(weights)
    config = json.loads((tmp_path / "config.json").read_text())
    changed(tmp_path / "config.json", text_config={**config["text_config"], "intermediate_size": 32})
    with pytest.raises(BackboneError, match=r"Cannot load folder .*\. To mend it, check that it holds a whole"):
        jv.load_backbone(str(tmp_path))


def test_an_attention_that_is_not_installed_is_one_message(tmp_path: Path) -> None:
    if importlib.util.find_spec("flash_attn"):
        pytest.skip("flash-attn is installed here")
    saved(tmp_path)
    changed(tmp_path / "config.json", attn_implementation="flash_attention_2")
    with pytest.raises(BackboneError, match=r"FlashAttention2 .*\. To mend it, install what it asks for\.$"):
        jv.load_backbone(str(tmp_path))


def test_a_processor_of_another_model_is_one_message(tmp_path: Path) -> None:
    saved(tmp_path)
    changed(tmp_path / "config.json", image_token_id=7)
    with pytest.raises(BackboneError, match=r"expects token 7 in an image's place.*do not belong together"):
        jv.load_backbone(str(tmp_path))


def test_a_processor_without_template_is_one_message(tmp_path: Path) -> None:
    saved(tmp_path)
    (tmp_path / "chat_template.jinja").unlink()
    with pytest.raises(BackboneError, match="has no chat template"):
        jv.load_backbone(str(tmp_path))


def test_paligemma_s_adapter_brings_the_template_that_its_processor_lacks(tmp_path: Path) -> None:
    saved(tmp_path, "tiny-random-paligemma")
    (tmp_path / "chat_template.jinja").unlink()
    backbone = jv.load_backbone(str(tmp_path))
    assert backbone.processor.chat_template == backbone.adapter.template


def test_a_processor_that_needs_torchvision_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jepa_vlm.adapters.processors.torchvision_works", lambda: False)
    saved(tmp_path)
    changed(tmp_path / "processor_config.json", processor_class="PixtralProcessor")
    with pytest.raises(BackboneError, match="PixtralProcessor needs torchvision"):
        jv.load_backbone(str(tmp_path))


def test_an_image_processor_that_needs_torchvision_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LFM2-VL's has no Pillow backend."""
    monkeypatch.setattr("jepa_vlm.adapters.processors.torchvision_works", lambda: False)
    if importlib.util.find_spec("torchvision"):
        pytest.skip("torchvision is installed here")
    saved(tmp_path, "tiny-random-llava")
    settings = json.loads((tmp_path / "processor_config.json").read_text())["image_processor"]
    image_processor = {**settings, "image_processor_type": "Lfm2VlImageProcessor"}
    changed(tmp_path / "processor_config.json", processor_class="Lfm2VlProcessor", image_processor=image_processor)
    with pytest.raises(BackboneError, match=r"Lfm2VlImageProcessor.*Missing optional dependencies: torchvision"):
        jv.load_backbone(str(tmp_path))


def test_logits_that_are_capped_behind_the_head_are_refused(tmp_path: Path) -> None:
    saved(tmp_path, "tiny-random-gemma3")
    config = json.loads((tmp_path / "config.json").read_text())
    changed(tmp_path / "config.json", text_config={**config["text_config"], "final_logit_softcapping": 30.0})
    with pytest.raises(BackboneError, match="caps its logits behind the head"):
        jv.load_backbone(str(tmp_path))


@pytest.mark.parametrize(("setting", "verb"), [("final_logit_softcapping", "caps"), ("logits_scaling", "scales")])
def test_an_unlisted_family_that_changes_its_logits_is_refused_too(
    monkeypatch: pytest.MonkeyPatch, setting: str, verb: str
) -> None:
    config = jv.load_backbone("tiny-random-llava").base.config
    monkeypatch.delitem(ADAPTERS._filed, "llava")
    assert families.adapter_of(config).separate_because
    setattr(config.text_config, setting, 4.0)
    with pytest.raises(BackboneError, match=f"{verb} its logits behind the head"):
        families.adapter_of(config)


def test_too_old_a_transformers_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapters, "version", lambda package: "5.9.2")
    with pytest.raises(BackboneError, match=r"must be 5\.23 or later, found 5\.9\.2"):
        adapters.check_transformers()
    monkeypatch.setattr(adapters, "version", lambda package: "6.0.0.dev0")
    adapters.check_transformers()


def test_four_bits_need_bitsandbytes_and_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path)
    monkeypatch.setattr(loading.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(JepaVLMError, match=r"needs bitsandbytes; install it with: pip install 'jepa-vlm\[qlora\]'"):
        jv.load_backbone(str(tmp_path), quantize=True)
    with pytest.raises(BackboneError, match="no weights to quantize"):
        jv.load_backbone(TINY, quantize=True)
    monkeypatch.setattr(loading.importlib.util, "find_spec", lambda name: object())
    config = loading._four_bits("folder", torch.bfloat16)["quantization_config"]
    assert (config.load_in_4bit, config.bnb_4bit_quant_type) == (True, "nf4")
    assert config.bnb_4bit_compute_dtype == torch.bfloat16


def test_a_broken_plug_in_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = EntryPoint("mine", "no_such_module_anywhere", loading.PLUG_INS)
    monkeypatch.setattr(loading, "entry_points", lambda group: [broken])
    loading._load_plug_ins.cache_clear()
    with pytest.raises(BackboneError, match=r"plug-in 'mine' \(no_such_module_anywhere\) does not load"):
        jv.load_backbone(TINY)
    loading._load_plug_ins.cache_clear()


def test_an_unlisted_family_is_trained_by_the_stock_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path, "tiny-random-llava")
    monkeypatch.delitem(ADAPTERS._filed, "llava")
    backbone = jv.load_backbone(str(tmp_path))
    assert backbone.profile.engine == "separate"
    assert backbone.adapter.image_inputs == ("pixel_values",)
    with pytest.raises(BackboneError, match=r"needs engine='separate'.*nobody has checked the family 'llava'"):
        jv.LatentVLM(backbone, jv.NextToken())


def test_an_unreachable_hub_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", "/nonexistent-cache")
    with pytest.raises(BackboneError, match=r"Qwen/Qwen2\.5-VL-3B-Instruct.* give the folder"):
        jv.load_backbone("qwen2.5-vl-3b")
