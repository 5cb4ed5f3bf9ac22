"""Bases as transformers 4 wrote them: their exports compute the same under 4.57 and under the installed version."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

import jepa_vlm as jv
from jepa_vlm import playground
from jepa_vlm.training import Origin, apply_lora, export, save_weights

OLD = ("transformers==4.57.6", "tokenizers==0.22.2", "huggingface-hub==0.36.2")
NEEDS = ("requests", "urllib3", "idna", "charset-normalizer", "certifi")
SCRIPT = Path(__file__).with_name("under_transformers_4.py")
TOKENS = ("<|latent_start|>", "<|latent_end|>")
# What is changed beside the weights. Every family has a base of its own layout: names, experts, head, rotary base.
CHANGED = {
    "qwen2.5-vl": {"added_tokens": TOKENS, "visual_tokens": 20},
    "qwen2-vl": {},
    "qwen3-vl": {"visual_tokens": 20},
    "qwen3-vl-moe": {},
    "llava": {"added_tokens": TOKENS},
    "llava-next": {"visual_tokens": 20},
    "idefics3": {},
    "gemma3": {},
    "internvl": {},
}
BUNDLED = "tiny-qwen2.5-vl"
TEXT_ALONE = ("idefics3",)  # 4.57 gives its tower's patches other positions than 5 does, the base's too


@pytest.fixture(scope="module")
def old_transformers(tmp_path_factory):
    """Return what runs the script under transformers 4."""
    folder = tmp_path_factory.mktemp("transformers-4")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), *OLD, *NEEDS]
    done = subprocess.run(pip, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"pip cannot install {OLD[0]}: {done.stderr.strip().splitlines()[-1]}")
    environment = {**os.environ, "PYTHONPATH": str(folder), "HF_HUB_OFFLINE": "1"}
    return lambda *words: subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, words)], check=True, env=environment, cwd=folder
    )


def write_parts(name, folder):
    """Write a tiny model's configuration and processor, of which a base is made."""
    made = jv.load_backbone(f"tiny-random-{name}")
    made.processor.save_pretrained(folder)
    config = made.base.config.to_dict()
    if "moe_intermediate_size" in config["text_config"]:
        config["text_config"]["moe_intermediate_size"] = 48  # so that an expert turned around has another shape
    (folder / "config.json").write_text(json.dumps(config))


def export_trained(base, run, out, kind="bfloat16", added_tokens=(), visual_tokens=None):
    """Export a base with an adapter that does something."""
    backbone = jv.load_backbone(str(base), added_tokens=added_tokens, visual_tokens=visual_tokens)
    apply_lora(backbone, jv.Lora(rank=4, alpha=8))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in backbone.model.parameters():
            if p.requires_grad:
                p.add_(0.05 * torch.randn(p.shape, generator=generator))
    origin = Origin(str(base), 0, "float32", visual_tokens, added_tokens)
    save_weights(jv.LatentVLM(backbone, jv.NextToken()), run / "best", origin)
    done = export(run, to=out)
    assert set(done.types) == {kind}
    assert done.difference < 0.1
    return backbone.processor


def asked(processor, out, tokens):
    """Write a prompt with an image beside the export, as the run's processor reads it; return what it makes of it."""
    item = playground.questions("visual-search", count=1)[0]
    picture = item.images[0].load()
    picture.save(out.with_name("image.png"))
    content = [{"type": "text", "text": item.prompt + "".join(tokens)}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], tokenize=False)
    Path(f"{out}.txt").write_text(text)
    image = [] if out.name in TEXT_ALONE else [{"type": "image", "image": picture}]
    chat = [{"role": "user", "content": image + content}]
    inputs = processor.apply_chat_template(chat, tokenize=True, return_dict=True, return_tensors="pt")
    unknown = ("mm_token_type_ids",)  # to transformers 4, which finds the image by its tokens
    save_file({name: t.contiguous() for name, t in inputs.items() if name not in unknown}, f"{out}.safetensors")
    ids = torch.tensor(processor.tokenizer(text).input_ids)
    pixels = processor.image_processor(images=[picture], return_tensors="pt")["pixel_values"]
    stock = AutoModelForImageTextToText.from_pretrained(out, dtype=torch.float32).eval()
    with torch.no_grad():
        return {"logits": stock(**inputs, use_cache=False).logits, "ids": ids, "pixels": pixels}


@pytest.mark.slow
def test_an_export_is_the_same_model_under_transformers_4(old_transformers, tmp_path):
    for name in CHANGED:
        write_parts(name, tmp_path / "parts" / name)
    old_transformers("make", tmp_path / "parts", tmp_path / "bases")
    expected = {}
    for name, more in {**CHANGED, BUNDLED: {"kind": "float16", "visual_tokens": 20}}.items():
        out = tmp_path / "exports" / name
        base = name if name == BUNDLED else tmp_path / "bases" / name
        processor = export_trained(base, tmp_path / "runs" / name, out, **more)
        expected[name] = asked(processor, out, more.get("added_tokens", ()))
    old_transformers("read", tmp_path / "exports")
    for name, values in expected.items():
        found = load_file(tmp_path / "exports" / f"{name}.found.safetensors")
        assert torch.equal(found["ids"], values["ids"]), name
        torch.testing.assert_close(found["pixels"], values["pixels"], rtol=0, atol=0, msg=name)
        torch.testing.assert_close(found["logits"], values["logits"], rtol=0, atol=1e-5, msg=name)
