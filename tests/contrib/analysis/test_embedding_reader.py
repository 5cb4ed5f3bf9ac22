"""What reads the embeddings of a run, a checkpoint or a backbone."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

import jepa_vlm as jv
from jepa_vlm.contrib.analysis.embedding_reader import load_run_model, open_reader, own_prediction
from jepa_vlm.contrib.analysis.embeddings import embed
from jepa_vlm.errors import RunError
from jepa_vlm.training import apply_lora, save_weights
from tests.training.setting import BACKBONE, ORIGIN

TRAJECTORIES = jv.playground.trajectories("visual-search", count=3, split="test")


def write_run(folder, recipe: str, **parameters) -> jv.LatentVLM:
    """Leave what a run leaves, with weights that were moved by hand."""
    built = jv.load_recipe(recipe, **parameters)
    backbone = jv.load_backbone(BACKBONE, seed=0, added_tokens=built.added_tokens)
    origin = replace(ORIGIN, added_tokens=built.added_tokens, answering=built.answering)
    apply_lora(backbone, built.lora and jv.Lora(rank=4, alpha=8), seed=0)
    model = jv.LatentVLM(backbone, built.objective)
    with torch.no_grad():
        for parameter in (p for p in model.parameters() if p.requires_grad):
            parameter += 0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(7))
    save_weights(model, folder / "best", origin)
    save_weights(model, folder / "checkpoints" / "checkpoint-5", origin)
    said = {"recipe": recipe, "engine": "one_pass", "data": "playground:maze", "seed": 3}
    values = {**said, **{f"parameter.{key}": str(value) for key, value in parameters.items()}}
    config = {name: {"value": value, "origin": "user"} for name, value in values.items()}
    (folder / "config.json").write_text(json.dumps({**config, "objective": str(model.objective)}))
    return model


@pytest.fixture(scope="module")
def pearl(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "pearl"
    return folder, write_run(folder, "pearl", tokens=2)


def predicted(reader) -> torch.Tensor:
    return embed(reader, TRAJECTORIES, name="m", readout="x").predicted


def test_a_run_is_read_by_its_own_prediction(pearl):
    folder, model = pearl
    expected = predicted(own_prediction(model))
    for place, shown in ((folder, "pearl"), (folder / "checkpoints/checkpoint-5", "pearl/checkpoint-5")):
        reader = open_reader(str(place))
        assert (reader.name, reader.readout) == (shown, "its own prediction")
        assert (reader.data, reader.seed) == ("playground:maze", 3)
        torch.testing.assert_close(predicted(reader.model), expected)


def test_a_readout_reads_every_model_alike(pearl):
    folder, _ = pearl
    run, base = open_reader(str(folder), readout="mean", context="image"), open_reader(BACKBONE)
    assert (run.readout, base.readout) == ("mean, trajectory after image", "last_token, trajectory after none")
    assert (base.name, base.data) == (BACKBONE, None)
    assert not torch.allclose(predicted(run.model), predicted(base.model))


def test_a_run_without_a_prediction_is_read_at_the_last_token(tmp_path):
    model = write_run(tmp_path / "sft", "sft")
    reader = open_reader(str(tmp_path / "sft"))
    assert reader.readout == "last_token, trajectory after none"
    assert not torch.allclose(predicted(reader.model), predicted(open_reader(BACKBONE).model))
    assert torch.equal(
        load_run_model(tmp_path / "sft").state_dict()["model.base_model.model.lm_head.weight"],
        model.state_dict()["model.base_model.model.lm_head.weight"],
    )


def test_what_cannot_be_rebuilt_is_refused(pearl, tmp_path):
    import shutil

    folder = tmp_path / "other"
    shutil.copytree(pearl[0], folder)
    config = json.loads((folder / "config.json").read_text())

    def write(**changed):
        (folder / "config.json").write_text(json.dumps({**config, **changed}))

    write(objective="another")
    with pytest.raises(RunError, match="'pearl' is no longer what trained"):
        load_run_model(folder)
    write(recipe={"value": "composed", "origin": "user"})
    with pytest.raises(RunError, match="composed in Python"):
        open_reader(str(folder))
    assert open_reader(str(folder), readout="last_token").data == "playground:maze"
    (folder / "config.json").write_text("{")
    with pytest.raises(RunError, match="not JSON"):
        load_run_model(folder)
    (folder / "config.json").unlink()
    with pytest.raises(RunError, match=r"lies in no run"):
        load_run_model(folder / "best")
    assert open_reader(str(folder / "best")).readout == "last_token, trajectory after none"
