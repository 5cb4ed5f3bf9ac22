"""An export is the trained model for code that knows nothing of this package, or it is not there at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

import jepa_vlm as jv
from jepa_vlm.adapters.processors import load_processor
from jepa_vlm.errors import ExportError, RunError
from jepa_vlm.generation import Tools
from jepa_vlm.training import export, merge, save_weights
from tests.factories import opens_a_thought
from tests.training.setting import BACKBONE, ORIGIN, small_model

STOCK = """
import sys, json, torch
from transformers import AutoModelForImageTextToText, AutoTokenizer
folder, ids = sys.argv[1], json.loads(sys.argv[2])
model = AutoModelForImageTextToText.from_pretrained(folder).eval()
assert "jepa_vlm" not in sys.modules
assert AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids("<|image_pad|>") == model.config.image_token_id
with torch.no_grad():
    print(json.dumps(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].tolist()))
"""


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint whose adapter does something."""
    model = small_model()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.normal_(generator=torch.Generator().manual_seed(0), std=0.05)
    save_weights(model, tmp_path / "best", ORIGIN)
    return tmp_path, model


@pytest.mark.slow
def test_stock_transformers_computes_what_the_live_model_computes(checkpoint, tmp_path):
    run, model = checkpoint
    done = export(run, to=tmp_path / "export")
    assert done.checkpoint == run / "best"
    assert done.merged == 4 * 7  # layers x projections
    assert done.difference < 1e-4
    ids = model.backbone.tokenizer("look at the red square").input_ids
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-c", STOCK, str(done.folder), json.dumps(ids)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment)
    with torch.no_grad():
        live = model.backbone.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
    torch.testing.assert_close(torch.tensor(json.loads(said.stdout)), live, rtol=1e-4, atol=1e-4)


def test_the_folder_says_how_its_model_answers_unless_plainly(checkpoint, tmp_path):
    run, model = checkpoint
    assert not (export(run, to=tmp_path / "plain").folder / "inference.json").exists()
    save_weights(model, run / "best", replace(ORIGIN, answering=Tools()))
    assert json.loads((export(run, to=tmp_path / "tools").folder / "inference.json").read_text()) == {
        "inference": "tools"
    }


def test_the_folder_holds_the_bases_tensors_and_configuration(checkpoint, tmp_path):
    folder = export(checkpoint[0], to=tmp_path / "export").folder
    base = jv.load_backbone(BACKBONE)
    base.model.save_pretrained(tmp_path / "base")
    held, expected = (load_file(path / "model.safetensors") for path in (folder, tmp_path / "base"))
    assert {name: t.shape for name, t in held.items()} == {name: t.shape for name, t in expected.items()}
    configs = [json.loads((path / "config.json").read_text()) for path in (folder, tmp_path / "base")]
    assert configs[0] == configs[1]
    again = jv.load_backbone(str(folder))
    assert len(again.tokenizer) == len(base.tokenizer)


def test_an_adapter_that_changes_nothing_is_refused_and_nothing_is_left(tmp_path):
    save_weights(small_model(), tmp_path / "best", ORIGIN)
    with pytest.raises(ExportError, match="changed none of 28 weights"):
        export(tmp_path, to=tmp_path / "export")
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_other_logits_are_refused_and_nothing_is_left(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setitem(merge.TOLERANCE, torch.float32, 0.0)
    with pytest.raises(ExportError, match="Logits of the merged model differ"):
        export(checkpoint[0], to=tmp_path / "export")
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_a_template_that_asks_otherwise_is_refused_and_nothing_is_left(checkpoint, tmp_path, monkeypatch):
    def thinking(folder):
        processor = load_processor(folder)
        opens_a_thought(processor)
        return processor

    monkeypatch.setattr(merge, "load_processor", thinking)
    with pytest.raises(ExportError, match="would be asked otherwise than it was trained"):
        export(checkpoint[0], to=tmp_path / "export")
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_other_tensors_are_refused(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(merge, "_base_shapes", lambda backbone: {"model.visual.odd": (1,)})
    with pytest.raises(ExportError, match="differs from the base"):
        export(checkpoint[0], to=tmp_path / "export")
    assert not (tmp_path / "export").exists()


def test_a_folder_in_use_is_refused_before_anything_is_loaded(checkpoint, tmp_path, monkeypatch):
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "mine.txt").write_text("mine")
    monkeypatch.setattr(merge, "load_checkpoint", None)
    with pytest.raises(ExportError, match="already holds files"):
        export(checkpoint[0], to=tmp_path / "export")
    assert (tmp_path / "export" / "mine.txt").read_text() == "mine"


def test_what_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(RunError, match="is not a checkpoint"):
        export(tmp_path, to=tmp_path / "export")


def test_a_run_that_has_not_ended_has_nothing_to_merge(tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    with pytest.raises(RunError, match=r"has not ended; go on with it by --resume, or give a folder in"):
        export(tmp_path / "run", to=tmp_path / "out")
