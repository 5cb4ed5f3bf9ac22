"""Who may write into a run folder."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

import jepa_vlm as jv
from jepa_vlm.errors import RunError
from jepa_vlm.runs.folder import RunFolder, free_folder
from jepa_vlm.runs.settings import Resolved

OBJECTIVE = str(jv.NextToken() + 0.2 * jv.NextLatentRegularizer(horizon=2))
DIGESTS = {"jsonl": "ab12", "lvr": "cd34"}
VALUES = {"steps": Resolved(5, "user"), "workers": Resolved(0, "default")}


def begun(path):
    folder = RunFolder(path=path)
    values = {name: {"value": one.value, "origin": one.origin} for name, one in VALUES.items()}
    folder.create({**values, "objective": OBJECTIVE, "data_digests": DIGESTS})
    return folder


def test_a_folder_of_another_run_is_refused(tmp_path):
    begun(tmp_path / "a")
    with pytest.raises(RunError, match=r"holds another run.*--resume"):
        begun(tmp_path / "a")


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="exists and is not empty"):
        begun(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_an_empty_folder_will_do(tmp_path):
    assert json.loads(begun(tmp_path).config.read_text())["steps"] == {"value": 5, "origin": "user"}


def test_a_resumed_run_keeps_its_values_but_not_its_workers(tmp_path):
    folder = begun(tmp_path)
    folder.check_same({**VALUES, "workers": Resolved(8, "user")}, OBJECTIVE, DIGESTS)
    with pytest.raises(RunError, match=r"has steps = 5, this command 9"):
        folder.check_same({**VALUES, "steps": Resolved(9, "user")}, OBJECTIVE, DIGESTS)


@pytest.mark.parametrize(
    "other",
    [
        lambda: jv.NextToken() + 0.5 * jv.NextLatentRegularizer(horizon=2),
        lambda: jv.NextToken() + 0.2 * jv.NextLatentRegularizer(),
        lambda: jv.NextToken(trained="last") + 0.2 * jv.NextLatentRegularizer(horizon=2),
    ],
)
def test_a_resumed_run_keeps_its_objective_even_where_a_parameter_is_left_out(tmp_path, other):
    folder = begun(tmp_path)
    folder.check_same(VALUES, OBJECTIVE, DIGESTS)
    with pytest.raises(RunError, match=r"another objective .* its --set values included"):
        folder.check_same(VALUES, str(other()), DIGESTS)


def test_a_resumed_run_keeps_its_data(tmp_path):
    folder = begun(tmp_path)
    with pytest.raises(RunError, match=r"changed since it began \(source lvr: .*give a new --output"):
        folder.check_same(VALUES, OBJECTIVE, {**DIGESTS, "lvr": "ee56"})


def test_a_run_of_a_version_without_digests_is_not_resumed(tmp_path):
    folder = begun(tmp_path)
    held = json.loads(folder.config.read_text())
    del held["data_digests"]
    folder.config.write_text(json.dumps(held))
    with pytest.raises(RunError, match="recorded no digest of its data"):
        folder.check_same(VALUES, OBJECTIVE, DIGESTS)


def test_there_must_be_something_to_resume(tmp_path):
    with pytest.raises(RunError, match="no run to resume"):
        RunFolder(path=tmp_path).check_exists()


def checkpoint(path):
    path.mkdir(parents=True)
    for name in ("adapter_model.safetensors", "heads.safetensors"):
        save_file({"a": torch.zeros(3)}, path / name)
    for name in ("optimizer.pt", "scheduler.pt"):
        torch.save({}, path / name)
    (path / "trainer_state.json").write_text("{}")
    return path


FILES = ("adapter_model.safetensors", "heads.safetensors", "optimizer.pt", "scheduler.pt", "trainer_state.json")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("cut", [True, False], ids=["cut", "gone"])
def test_the_newest_complete_checkpoint_is_the_last(tmp_path, name, cut):
    folder = begun(tmp_path)
    whole = [checkpoint(folder.checkpoints / f"checkpoint-{step}") for step in (9, 10)]
    damaged = checkpoint(folder.checkpoints / "checkpoint-11") / name
    assert folder.last_checkpoint() == damaged.parent
    if cut:
        damaged.write_bytes(damaged.read_bytes()[:-1])
    else:
        damaged.unlink()
    assert folder.last_checkpoint() == whole[-1]


def test_a_damaged_configuration_is_one_message(tmp_path):
    folder = begun(tmp_path)
    folder.config.write_text('{"steps": {"val')
    with pytest.raises(RunError, match=r"config\.json is not JSON .*give a new --output"):
        folder.check_same(VALUES, OBJECTIVE, DIGESTS)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "a").write_text("mine")
    with pytest.raises(RunError, match="is a file"):
        begun(tmp_path / "a")


def test_a_folder_without_a_name_takes_the_next_number(tmp_path):
    assert free_folder(tmp_path, "pearl") == tmp_path / "pearl"
    begun(tmp_path / "pearl")
    begun(tmp_path / "pearl-2")
    assert free_folder(tmp_path, "pearl") == tmp_path / "pearl-3"
