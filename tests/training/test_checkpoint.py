"""What a checkpoint holds, and who can read it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

import jepa_vlm as jv
from jepa_vlm.errors import RunError
from jepa_vlm.training import apply_lora, load_checkpoint, load_weights, read_origin, save_weights
from jepa_vlm.training.checkpoint import ADAPTER, HEADS, PARTS
from tests.training.setting import BACKBONE, ORIGIN, small_model, trained


def disturb(model):
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(torch.randn_like(p) * 0.1)
    for average in model.target_weights.buffers():
        average.add_(1.0)
    return model


def averaged():
    """Pearl with an averaged target, so that the average has to be kept too."""
    prediction = jv.LatentPrediction(
        context=jv.ViewEncoder(jv.views.Question(), readout="last_pred"),
        predictor=jv.PredTokenPredictor(tokens=2),
        target=jv.ViewEncoder(jv.views.TrajectoryOnly(), readout="last_token", policy=jv.ema(0.9)),
        loss=jv.CosineLoss(),
    )
    return jv.NextToken() + prediction


def test_a_checkpoint_restores_weights_heads_and_averages(tmp_path):
    model = disturb(small_model(objective=averaged()))
    save_weights(model, tmp_path, ORIGIN)
    other = small_model(objective=averaged())
    load_weights(other, tmp_path)
    expected = {**trained(model), **dict(model.target_weights.named_buffers())}
    found = {**trained(other), **dict(other.target_weights.named_buffers())}
    assert expected.keys() == found.keys()
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    assert read_origin(tmp_path) == ORIGIN


def test_plain_peft_loads_the_adapter(tmp_path):
    model = disturb(small_model())
    save_weights(model, tmp_path, ORIGIN)
    plain = PeftModel.from_pretrained(jv.load_backbone(BACKBONE).model, str(tmp_path))
    expected = {name: p for name, p in model.backbone.model.named_parameters() if ".lora_" in name}
    found = dict(plain.named_parameters())
    assert expected
    assert all(torch.equal(p, found[name]) for name, p in expected.items())
    assert json.loads((tmp_path / "adapter_config.json").read_text())["inference_mode"] is True
    assert model.backbone.model.peft_config["default"].inference_mode is False


def test_a_checkpoint_holds_no_base_weights_and_no_pickle(tmp_path):
    save_weights(small_model(), tmp_path, ORIGIN)
    assert {path.name for path in tmp_path.iterdir()} == {ADAPTER, "adapter_config.json", HEADS, "origin.json"}
    assert all(".lora_" in name for name in load_file(tmp_path / ADAPTER))
    assert all(name.startswith("objective.") for name in load_file(tmp_path / HEADS))


def in_full(dtype="float32", train=("language",)):
    backbone = jv.load_backbone(BACKBONE, dtype=dtype, exact=True)
    apply_lora(backbone, None, train=train)
    return jv.LatentVLM(backbone, jv.NextToken())


def test_a_part_that_lacks_a_tensor_is_refused(tmp_path):
    model = in_full()
    save_weights(model, tmp_path, ORIGIN)
    tensors = load_file(tmp_path / PARTS)
    save_file({n: t for n, t in tensors.items() if "layers.0.input_layernorm" not in n}, tmp_path / PARTS)
    for read in (load_checkpoint, lambda folder: load_weights(model, folder)):
        with pytest.raises(RunError, match=r"1 tensors differ.*layers\.0\.input_layernorm"):
            read(tmp_path)
    (tmp_path / PARTS).unlink()
    with pytest.raises(RunError, match=f"neither {ADAPTER} nor {PARTS}"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_checkpoint_restores_fully_trained_parts_in_full_precision(tmp_path, dtype):
    model = disturb(in_full(dtype, train=("language", "vision")))
    save_weights(model, tmp_path, replace(ORIGIN, dtype=dtype))
    other = in_full(dtype, train=("language", "vision"))
    load_weights(other, tmp_path)
    expected = trained(model)
    assert all(tensor.dtype == torch.float32 for tensor in expected.values())
    for found in (trained(other), dict(jv.LatentVLM(load_checkpoint(tmp_path), jv.NextToken()).named_parameters())):
        assert all(torch.equal(value, found[name]) for name, value in expected.items())
    projector = "visual.merger"
    assert not any(projector in name for name in load_file(tmp_path / PARTS))


def test_an_incomplete_checkpoint_is_refused(tmp_path):
    model = small_model()
    save_weights(model, tmp_path, ORIGIN)
    (tmp_path / HEADS).unlink()
    with pytest.raises(RunError, match=f"no {HEADS}"):
        load_weights(model, tmp_path)


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path):
    save_weights(small_model(recipe="sft"), tmp_path, ORIGIN)
    with pytest.raises(RunError, match="another recipe"):
        load_weights(small_model(recipe="pearl"), tmp_path)


def test_an_adapter_with_a_tensor_too_few_is_refused(tmp_path):
    model = small_model()
    save_weights(model, tmp_path, ORIGIN)
    tensors = load_file(tmp_path / ADAPTER)
    tensors.popitem()
    save_file(tensors, tmp_path / ADAPTER)
    with pytest.raises(RunError, match="1 tensors differ"):
        load_weights(model, tmp_path)


def test_an_adapter_that_peft_would_not_load_is_refused(tmp_path):
    save_weights(small_model(), tmp_path, ORIGIN)
    renamed = {name.replace("language_model", "text"): tensor for name, tensor in load_file(tmp_path / ADAPTER).items()}
    save_file(renamed, tmp_path / ADAPTER)
    with pytest.warns(UserWarning, match="missing adapter keys"), pytest.raises(RunError, match="does not fit"):
        load_checkpoint(tmp_path)


def test_saving_a_checkpoint_contacts_no_hub(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the hub was asked")

    monkeypatch.setattr("peft.utils.save_and_load.check_file_exists_on_hf_hub", refuse)
    model = small_model()
    model.backbone.model.peft_config["default"].base_model_name_or_path = "owner/name"
    save_weights(model, tmp_path, ORIGIN)
    load_weights(model, tmp_path)


def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(RunError, match="is not a checkpoint"):
        read_origin(tmp_path)


@pytest.mark.parametrize("said", ["", "[]", '{"backbone": "x"}', '{"backbone": "x", "decoding": {"depth": 3}}'])
def test_a_checkpoint_without_provenance_is_refused(tmp_path, said):
    (tmp_path / "origin.json").write_text(said)
    with pytest.raises(RunError, match="does not say which backbone"):
        read_origin(tmp_path)
