"""Who may write into a run folder, one process at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import jepa_vlm as jv
from jepa_vlm.errors import RunError
from jepa_vlm.runs import data
from jepa_vlm.runs.folder import RunFolder, alone, free_folder, holds_anything
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


ROOT = Path(__file__).resolve().parents[2]
HOLDER = """
import sys
from pathlib import Path
from jepa_vlm.runs.folder import alone
with alone(Path(sys.argv[1]), "run"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_one_is_refused_and_the_next_is_not(tmp_path):
    folder = tmp_path / "a" / "b"
    refused = pytest.raises(RunError, match=r"Another process works on the run in .*b; wait")
    with alone(folder, "run"), refused, alone(folder, "run"):
        pass
    with alone(folder, "run"):
        pass


def test_a_process_that_is_killed_lets_go(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    holder = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(RunError, match="Another process works"), alone(tmp_path, "run"):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with alone(tmp_path, "run"):
        pass


def test_a_lock_that_stayed_behind_does_not_take_a_folder(tmp_path):
    with alone(tmp_path / "sft", "run"):
        pass
    assert not holds_anything(tmp_path / "sft")
    assert free_folder(tmp_path, "sft") == tmp_path / "sft"
    RunFolder(path=tmp_path / "sft").check_free()


def test_a_run_that_another_process_works_on_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "TRAIN", 4)
    refused = pytest.raises(RunError, match=r"Another process works on the run in .*wait until it ends")
    with alone(tmp_path / "run", "run"), refused:
        jv.train("sft", output=tmp_path / "run", steps=2, batch_size=2, questions=0)
    assert [path.name for path in (tmp_path / "run").iterdir() if path.name != ".lock"] == []
