"""A tiny Qwen2.5-VL in a folder as transformers 4 and the hub have it: flat configuration, shards, slow tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

import jepa_vlm as jv

NAME = "tiny-random-qwen2.5-vl"
UNREAD = "model.layers.0.self_attn.rotary_emb.inv_freq"  # which old files hold, and no model reads any more


def old_base(folder: Path, dtype: torch.dtype = torch.bfloat16) -> Path:
    """Write it; return the folder."""
    folder.mkdir(parents=True)
    backbone = jv.load_backbone(NAME, dtype=dtype)
    backbone.base.save_pretrained(folder, max_shard_size="1MB")
    _add_unread(folder)
    backbone.processor.save_pretrained(folder)
    template = (folder / "chat_template.jinja").read_text()
    images = json.loads((folder / "processor_config.json").read_text())["image_processor"]
    for name in ("chat_template.jinja", "processor_config.json", "generation_config.json"):
        (folder / name).unlink()
    size = images.pop("size")
    config = _flat(json.loads((folder / "config.json").read_text()))
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    added = {token.pop("id"): token for token in json.loads(json.dumps(tokenizer["added_tokens"]))}
    core = tokenizer["model"]
    files: dict[str, Any] = {
        "config.json": {**config, "auto_map": {"AutoModel": "modeling_base.Model"}, "torch_dtype": "bfloat16"},
        "preprocessor_config.json": {**images, "min_pixels": size["shortest_edge"], "max_pixels": size["longest_edge"]},
        "generation_config.json": {"do_sample": True, "eos_token_id": config["eos_token_id"], "temperature": 1e-6},
        "chat_template.json": {"chat_template": template},
        "vocab.json": core["vocab"],
        "added_tokens.json": {token["content"]: number for number, token in added.items()},
        "tokenizer_config.json": {
            **json.loads((folder / "tokenizer_config.json").read_text()),
            "added_tokens_decoder": added,
            "extra_special_tokens": {},
        },
        "inference.json": {"inference": "tools"},  # of the export that the base is
    }
    for name, held in files.items():
        (folder / name).write_text(json.dumps(held, indent=4))
    (folder / "merges.txt").write_text("\n".join(" ".join(pair) for pair in core["merges"]))
    for name in ("LICENSE", "README.md", "modeling_base.py", "notes.txt"):
        (folder / name).write_text(name)
    return folder


def stored(folder: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a folder under the names that its files have."""
    return {name: t for file in sorted(folder.glob("*.safetensors")) for name, t in load_file(file).items()}


def _flat(config: dict[str, Any]) -> dict[str, Any]:
    text, vision = config.pop("text_config"), config["vision_config"]
    rope = text.pop("rope_parameters")
    vision.pop("rope_parameters", None)
    old = {"rope_theta": rope["rope_theta"], "rope_scaling": {"type": "mrope", "mrope_section": rope["mrope_section"]}}
    return {**text, **config, **old, "model_type": "qwen2_5_vl"}


def _add_unread(folder: Path) -> None:
    path = max(folder.glob("*.safetensors"))
    save_file({**load_file(path), UNREAD: torch.ones(3)}, path, metadata={"format": "pt"})
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    index["weight_map"][UNREAD] = path.name
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
