"""An export is the base's own files with other weights, and what had to change in them is listed."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import jepa_vlm as jv
from jepa_vlm.adapters.base_folder import base_folder, check_base, kept_files
from jepa_vlm.errors import ExportError
from jepa_vlm.training import Origin, apply_lora, base_files, export, merge, save_weights
from jepa_vlm.training.base_files import copy_files, differences, stored_type, write_weights
from tests.training.old_base import UNREAD, old_base, stored

TOKENS = ("<|latent_start|>", "<|latent_end|>")
Q_PROJ = "language_model.layers.0.self_attn.q_proj"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return old_base(tmp_path_factory.mktemp("old") / "base")


def checkpoint(folder, base, *, dtype="float32", lora=True, std=0.05, **more):
    """Write a checkpoint on a base whose trained tensors were moved; return its model."""
    backbone = jv.load_backbone(str(base), dtype=dtype, **more)
    apply_lora(backbone, jv.Lora(rank=4, alpha=8) if lora else None)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in backbone.model.parameters():
            if p.requires_grad:
                p.data = p.data.float()  # as what trains is held
                p.add_(std * torch.randn(p.shape, generator=generator))
    tokens, most = more.get("added_tokens", ()), more.get("visual_tokens")
    save_weights(jv.LatentVLM(backbone, jv.NextToken()), folder, Origin(str(base), 0, dtype, most, tokens))
    return backbone


def changes(before, after):
    return {"from": before, "to": after}


def test_it_has_the_bases_files_but_for_what_is_listed(base, tmp_path):
    backbone = checkpoint(tmp_path / "best", base, added_tokens=TOKENS, visual_tokens=20)
    done = export(tmp_path, to=tmp_path / "export")
    folder = done.folder
    assert done.left_out == ("README.md", "inference.json", "modeling_base.py", "notes.txt")
    rest = {p.name for p in base.iterdir()} - set(done.left_out)
    assert {p.name for p in folder.iterdir()} == rest | {"export.json"}
    plain = {name for name in rest - done.changed.keys() if not name.endswith(".safetensors")}
    assert {"generation_config.json", "merges.txt", "vocab.json", "chat_template.json", "LICENSE"} == plain
    assert all((folder / name).read_bytes() == (base / name).read_bytes() for name in plain)
    token = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    entries = {number: {"content": name, **token} for number, name in zip((623, 624), TOKENS, strict=True)}
    added = backbone.dim * 2 * 2  # two rows in bfloat16; the head is tied and not in the files
    total = json.loads((base / "model.safetensors.index.json").read_text())["metadata"]["total_size"]
    expected = {
        "config.json": {
            "vocab_size": changes(623, 625),
            "auto_map": {"from": {"AutoModel": "modeling_base.Model"}},
        },
        "preprocessor_config.json": {
            "size": {"to": {"longest_edge": 5120, "shortest_edge": 256}},
            "max_pixels": changes(50176, 5120),
        },
        "tokenizer.json": {f"added_tokens.{i}": {"to": {"id": n, **entries[n]}} for i, n in ((10, 623), (11, 624))},
        "tokenizer_config.json": {f"added_tokens_decoder.{n}": {"to": entry} for n, entry in entries.items()},
        "added_tokens.json": {name: {"to": number} for number, name in zip((623, 624), TOKENS, strict=True)},
        "model.safetensors.index.json": {"metadata.total_size": changes(total, total + added)},
    }
    assert done.changed == expected
    record = json.loads((folder / "export.json").read_text())
    assert record["changed"] == expected
    assert record["base"] == str(base)
    again = jv.load_backbone(str(folder))
    assert again.processor.image_processor.size["longest_edge"] == 5120
    assert again.tokenizer.convert_tokens_to_ids(list(TOKENS)) == [623, 624]


def test_its_weights_have_the_bases_names_files_and_types_and_are_rounded_once(base, tmp_path):
    backbone = checkpoint(tmp_path / "best", base)
    done = export(tmp_path, to=tmp_path / "export")
    for file in base.glob("*.safetensors"):
        with safe_open(file, "pt") as old, safe_open(done.folder / file.name, "pt") as new:
            assert set(old.keys()) == set(new.keys())
            assert old.metadata() == new.metadata()
    before, after = stored(base), stored(done.folder)
    assert done.types == {"bfloat16": len(before) - 1, "float32": 1}
    assert done.unread == (UNREAD,)
    changed = {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    assert len(changed) == done.merged == 4 * 7
    (name,) = [name for name in changed if name.endswith("layers.0.self_attn.q_proj.weight")]
    layer = backbone.base.get_submodule(f"model.{Q_PROJ}")
    delta = layer.lora_B["default"].weight @ layer.lora_A["default"].weight * 8 / 4
    assert torch.equal(after[name], (before[name].float() + delta).bfloat16())
    assert 1e-4 < done.difference < 0.1  # rounding is no fault, and is told
    assert "the run computed in float32, and the base is stored in bfloat16 and float32" in done.told()[0]


@pytest.mark.parametrize("lora", [True, False])
def test_a_run_in_another_type_writes_the_bases_and_starts_from_its_numbers(tmp_path, lora):
    """Neither bfloat16 nor float16 holds the other's numbers: 0.1 in float16 is another number in bfloat16."""
    base = old_base(tmp_path / "base", torch.float16)
    backbone = checkpoint(tmp_path / "best", base, dtype="bfloat16", lora=lora, std=1e-3)
    done = export(tmp_path, to=tmp_path / "export")
    before, after = stored(base), stored(done.folder)
    assert all(before[name].dtype == tensor.dtype for name, tensor in after.items())
    frozen = [name for name in before if "visual" in name]
    assert frozen
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    (name,) = [name for name in after if name.endswith("layers.0.self_attn.q_proj.weight")]
    layer = backbone.base.get_submodule(f"model.{Q_PROJ}")
    if lora:
        delta = layer.lora_B["default"].weight @ layer.lora_A["default"].weight * 8 / 4
        expected = before[name].float() + delta
    else:
        expected = layer.weight.detach()  # float32, of which bfloat16 would keep eight bits
    assert torch.equal(after[name], expected.half())


def test_experts_that_transformers_turns_around_are_turned_back(tmp_path):
    made = jv.load_backbone("tiny-random-qwen3-vl-moe")
    made.base.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    turned = {n: t.mT.contiguous() if n.endswith("experts.down_proj") else t for n, t in tensors.items()}
    save_file(turned, tmp_path / "model.safetensors", {"format": "pt"})
    made.processor.save_pretrained(tmp_path)
    (tmp_path / "out").mkdir()
    written = write_weights(
        jv.load_backbone(str(tmp_path)).base, tmp_path, tmp_path / "out", run=torch.float32, grown=False
    )
    assert not written.changed
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert all(torch.equal(found[name], tensor) for name, tensor in turned.items())


def hub(base, cache):
    """Put a base into a hub cache, as the hub's client does: a snapshot of links to blobs."""
    repo = cache / "models--some--base"
    snapshot = repo / "snapshots" / ("0" * 40)
    for folder in (repo / "blobs", repo / "refs", snapshot):
        folder.mkdir(parents=True)
    (repo / "refs" / "main").write_text(snapshot.name)
    for path in base.iterdir():
        shutil.copyfile(path, repo / "blobs" / f"blob-{path.name}")
        (snapshot / path.name).symlink_to(f"../../blobs/blob-{path.name}")
    return snapshot


def test_of_a_snapshot_of_the_hub_the_contents_are_copied(base, tmp_path, monkeypatch):
    snapshot = hub(base, tmp_path / "hub")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    (tmp_path / "out").mkdir()
    with base_folder("some/base") as folder:
        assert folder == snapshot
        copied = copy_files(folder, tmp_path / "out", jv.load_backbone(str(folder)), added=0)
    assert "vocab.json" in copied.files
    assert not any((tmp_path / "out" / name).is_symlink() for name in copied.files)
    assert (tmp_path / "out" / "vocab.json").read_bytes() == (base / "vocab.json").read_bytes()


def small(folder):
    """A base as far as it is looked at before training."""
    folder.mkdir()
    for name, text in (("config.json", "{}"), ("model.safetensors", ""), ("tokenizer.json", "{}")):
        (folder / name).write_text(text)
    return folder


def test_a_link_out_of_the_base_is_refused_before_training(tmp_path):
    folder = small(tmp_path / "base")
    assert kept_files(folder) == ("config.json", "tokenizer.json")
    (tmp_path / "secret").write_text("secret")
    (folder / "LICENSE").symlink_to("../secret")
    with pytest.raises(ExportError, match=r"LICENSE must be a file in the base's folder.*it is a link to .*secret"):
        check_base(str(folder))


def test_a_base_that_cannot_be_merged_into_is_refused_before_training(tmp_path):
    folder = small(tmp_path / "base")
    (folder / "config.json").write_text('{"quantization_config": {"quant_method": "fp8"}}')
    with pytest.raises(ExportError, match="holds quantized weights"):
        check_base(str(folder))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ExportError, match=r"no model\.safetensors.*save it again as safetensors"):
        check_base(str(folder))


def test_added_tokens_of_a_tokenizer_without_its_file_are_where_both_versions_look(base, tmp_path):
    folder = shutil.copytree(base, tmp_path / "base")
    (folder / "tokenizer.json").unlink()
    held = json.loads((folder / "tokenizer_config.json").read_text())
    decoder = held.pop("added_tokens_decoder")
    (folder / "tokenizer_config.json").write_text(json.dumps(held))
    (tmp_path / "out").mkdir()
    backbone = jv.load_backbone(str(folder), added_tokens=TOKENS)
    copy_files(folder, tmp_path / "out", backbone, added=0)
    found = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())["added_tokens_decoder"]
    assert found.keys() == {*decoder, "623", "624"}
    assert found["623"]["content"] == TOKENS[0]


def test_a_template_that_the_base_lacks_is_added(tmp_path):
    made = jv.load_backbone("tiny-random-paligemma")
    template, made.processor.chat_template = made.processor.chat_template, None
    for part in (made.base, made.processor):
        part.save_pretrained(tmp_path / "base")
    (tmp_path / "out").mkdir()
    copied = copy_files(tmp_path / "base", tmp_path / "out", jv.load_backbone(str(tmp_path / "base")), added=0)
    assert copied.changed["chat_template.jinja"][""]["to"]
    assert (tmp_path / "out" / "chat_template.jinja").read_text() == copied.changed["chat_template.jinja"][""]["to"]
    assert template


def test_files_that_differ_by_more_than_is_listed_are_refused(base, tmp_path, monkeypatch):
    checkpoint(tmp_path / "best", base)

    def altered(source, target):
        Path(target).write_bytes(Path(source).read_bytes().replace(b"temperature", b"top_k"))

    monkeypatch.setattr(base_files.shutil, "copyfile", altered)
    with pytest.raises(ExportError, match=r"generation_config\.json must be the base's but for \{\}; .*'top_k'"):
        export(tmp_path, to=tmp_path / "export")
    assert not (tmp_path / "export").exists()


def test_a_frozen_tensor_that_is_not_the_bases_is_refused(base, tmp_path, monkeypatch):
    checkpoint(tmp_path / "best", base)
    merging = merge.merge_adapter

    def disturbing(model):
        merged = merging(model)
        merged.get_submodule("model.visual.blocks.0.norm1").weight.data.mul_(1 + 2**-7)
        return merged

    monkeypatch.setattr(merge, "merge_adapter", disturbing)
    monkeypatch.setitem(merge.TOLERANCE, torch.float32, 1.0)
    with pytest.raises(ExportError, match=r"1 tensors that did not train .*visual\.blocks\.0\.norm1\.weight first"):
        export(tmp_path, to=tmp_path / "export")


def test_numbers_that_the_bases_type_cannot_hold_are_refused(tmp_path):
    base = old_base(tmp_path / "base", torch.float16)
    model = jv.load_backbone(str(base)).base
    with torch.no_grad():
        model.get_submodule("model.visual.blocks.0.norm1").weight[0] = 1e5
    (tmp_path / "out").mkdir()
    with pytest.raises(ExportError, match=r"norm1\.weight has numbers beyond torch\.float16"):
        write_weights(model, base, tmp_path / "out", run=torch.float32, grown=False)


def test_a_vector_of_a_wider_type_does_not_make_the_model_wider(base):
    assert stored(base)[UNREAD].dtype == torch.float32
    assert stored_type(base) == torch.bfloat16


def test_everybody_may_read_what_the_umask_lets(base, tmp_path):
    before = os.umask(0o027)
    try:
        checkpoint(tmp_path / "best", base)
        folder = export(tmp_path, to=tmp_path / "export").folder
    finally:
        os.umask(before)
    files = [p for top in (tmp_path / "best", folder) for p in top.rglob("*") if p.is_file()]
    assert {p.stat().st_mode & 0o777 for p in files} == {0o640}
    assert folder.stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ({"a": 1}, {"a": 1}, {}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}, {"a.b": changes(1, 3), "a.c": {"from": 2}}),
        ({"a": [1]}, {"a": [1, 2]}, {"a.1": {"to": 2}}),
        ({"a": [1, 2]}, {"a": [2]}, {"a": changes([1, 2], [2])}),
        ({"a": None}, {}, {"a": {"from": None}}),
    ],
)
def test_differences_are_named_by_their_path(old, new, found):
    assert differences(old, new) == found
