"""Runs under transformers 4: ``make IN OUT`` writes bases as people have them, ``read IN`` runs exported folders.

IN/NAME/ holds a tiny model's processor and configuration as transformers 5 writes them; OUT/NAME/ becomes a folder of
transformers 4 with random weights in bfloat16. For ``read``, IN/NAME/ is an export and IN/NAME.safetensors the model's
inputs; its logits, and what the folder's tokenizer and image processor make of IN/NAME.txt and IN/image.png, go to
IN/NAME.found.safetensors.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

assert transformers.__version__.startswith("4.57")
THETA = 1e5  # which a reader that misses it takes for 1e4
PLAIN = ("bos_token", "eos_token", "pad_token", "unk_token", "tokenizer_class")


def old(config: Any) -> Any:
    """Return a configuration of transformers 5 as 4 has it."""
    if not isinstance(config, dict):
        return config
    found = {name: old(value) for name, value in config.items() if name not in ("transformers_version", "dtype")}
    if "num_local_experts" in found:
        found["num_experts"] = found.pop("num_local_experts")
    rope = found.pop("rope_parameters", None)
    if rope and "depth" not in found:  # towers of Qwen's kind have one of their own
        found["rope_theta"] = THETA
        scaling = {name: value for name, value in rope.items() if name.startswith("mrope")}
        if scaling:
            found["rope_scaling"] = {"rope_type": "default", **scaling}
    return found


def make(source: Path, folder: Path) -> None:
    """Write a base."""
    config = old(json.loads((source / "config.json").read_text()))
    kind = config.pop("model_type")
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(AutoConfig.for_model(kind, **config)).to(torch.bfloat16)
    model.save_pretrained(folder)
    settings = json.loads((source / "processor_config.json").read_text())
    images = settings.pop("image_processor")
    getattr(transformers, images["image_processor_type"])(**images).save_pretrained(folder)
    (folder / "processor_config.json").write_text(json.dumps(settings))
    known = json.loads((source / "tokenizer_config.json").read_text())
    named = {name: value for name, value in known.items() if name.endswith("_token") and name not in PLAIN}
    plain = {name: known[name] for name in PLAIN[:4] if known.get(name)}
    is_qwen = kind.startswith("qwen")
    made = transformers.Qwen2TokenizerFast if is_qwen else transformers.PreTrainedTokenizerFast
    more = {"extra_special_tokens": named} if named else {}
    tokenizer = made(tokenizer_file=str(source / "tokenizer.json"), **plain, **more)
    tokenizer.chat_template = (source / "chat_template.jinja").read_text()
    tokenizer.save_pretrained(folder)


def read(folder: Path) -> None:
    """Run an export."""
    inputs = load_file(f"{folder}.safetensors")
    model, info = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not any(info.values()), info
    with torch.no_grad():
        logits = model.eval()(**inputs, use_cache=False).logits
    ids = AutoTokenizer.from_pretrained(folder)(Path(f"{folder}.txt").read_text()).input_ids
    image = Image.open(folder.with_name("image.png")).convert("RGB")
    seen = AutoImageProcessor.from_pretrained(folder, use_fast=False)(images=[image], return_tensors="pt")
    found = {"logits": logits.contiguous(), "ids": torch.tensor(ids), "pixels": seen["pixel_values"].contiguous()}
    save_file(found, f"{folder}.found.safetensors")


if __name__ == "__main__":
    for place in sorted(path for path in Path(sys.argv[2]).iterdir() if path.is_dir()):
        if sys.argv[1] == "make":
            make(place, Path(sys.argv[3]) / place.name)
        else:
            read(place)
