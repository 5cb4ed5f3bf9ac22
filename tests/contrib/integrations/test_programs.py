"""The commands, word for word; whether the programs take them is checked where they are installed."""

from __future__ import annotations

import json
import os
import shlex
import subprocess

import pytest
from typer.testing import CliRunner

from jepa_vlm.cli.app import app
from jepa_vlm.cli.export import write_scripts
from jepa_vlm.contrib.integrations.programs import ExportedFolder, lmms_eval, vllm, vlmevalkit
from jepa_vlm.errors import ExportError, UnknownNameError

TASKS = "vstar_bench,mmvp,blink_counting,blink_iq_test,blink_jigsaw,blink_relative_reflectance,blink_spatial_relation"


def folder(path, model_type="qwen2_5_vl", *, pixels=(256, 50176), inference=None):
    """A folder as far as it is read: configuration and processor."""
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({"model_type": model_type}))
    processor = {"size": {}} if pixels is None else {"merge_size": 2, "size": {}}
    if pixels is not None:
        processor["size"] = {"shortest_edge": pixels[0], "longest_edge": pixels[1]}
    (path / "processor_config.json").write_text(json.dumps({"image_processor": processor}))
    if inference is not None:
        (path / "inference.json").write_text(json.dumps({"inference": inference}))
    return path


def words(path):
    """The command of a script, as a shell splits it."""
    last = path.read_text().splitlines()[-1]
    return shlex.split(last.removeprefix("exec ").removesuffix(' "$@"'))


def option(command, name):
    return command[command.index(name) + 1]


def test_an_exported_folder_gets_a_script_for_each_program(exported):
    write_scripts(exported, ["lmms-eval", "vlmevalkit", "vllm"])
    stock = words(exported / "lmms-eval.sh")
    assert stock[:5] == ["python", "-m", "lmms_eval", "--model", "qwen2_5_vl"]
    assert option(stock, "--model_args") == f"pretrained={exported},min_pixels=256,max_pixels=50176"
    assert option(stock, "--tasks") == TASKS
    kit = words(exported / "vlmevalkit.sh")
    assert kit == ["python", "run.py", "--config", f"{exported}/vlmevalkit.json", "--judge", "exact_matching"]
    config = json.loads((exported / "vlmevalkit.json").read_text())
    assert config["model"] == {
        "model": {
            "class": "Qwen2VLChat",
            "model_path": str(exported),
            "use_custom_prompt": False,
            "min_pixels": 256,
            "max_pixels": 50176,
        }
    }
    assert config["data"]["VStarBench"] == {"class": "ImageMCQDataset", "dataset": "VStarBench"}
    assert list(config["data"]) == ["VStarBench", "MMVP", "BLINK"]
    served = words(exported / "vllm.sh")
    assert served[:5] == ["vllm", "serve", str(exported), "--served-model-name", "model"]
    assert json.loads(option(served, "--override-generation-config")) == {"temperature": 0}
    assert json.loads(option(served, "--limit-mm-per-prompt")) == {"image": 4}


def test_a_script_runs_and_passes_its_arguments_on(exported, tmp_path):
    write_scripts(exported, ["vllm"])
    stand_in = tmp_path / "bin" / "vllm"
    stand_in.parent.mkdir()
    stand_in.write_text('#!/bin/sh\nfor word; do echo "$word"; done\n')
    stand_in.chmod(0o755)
    environment = os.environ | {"PATH": f"{stand_in.parent}:{os.environ['PATH']}"}
    command = [exported / "vllm.sh", "--port", "80 80"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-3:] == ['{"temperature": 0}', "--port", "80 80"]


def test_who_may_read_a_script_may_run_it(tmp_path):
    before = os.umask(0o027)
    try:
        write_scripts(folder(tmp_path / "m"), ["vllm"])
    finally:
        os.umask(before)
    assert (tmp_path / "m" / "vllm.sh").stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize(
    ("files", "pixels"),
    [
        ({"preprocessor_config.json": {"merge_size": 2, "min_pixels": 3136, "max_pixels": 50176}}, (3136, 50176)),
        (
            {
                "processor_config.json": {"processor_class": "Qwen3VLProcessor"},
                "preprocessor_config.json": {"merge_size": 2, "size": {"shortest_edge": 1, "longest_edge": 9}},
            },
            (1, 9),
        ),
        ({"preprocessor_config.json": {"size": {"shortest_edge": 336}}}, None),
    ],
)
def test_the_pixel_budget_is_found_where_the_base_states_it(tmp_path, files, pixels):
    (tmp_path / "config.json").write_text('{"model_type": "qwen3_vl"}')
    for name, held in files.items():
        (tmp_path / name).write_text(json.dumps(held))
    assert ExportedFolder.read(tmp_path).pixels == pixels


@pytest.mark.parametrize(
    ("model_type", "model"),
    [("internvl", "internvl_hf"), ("llava_next", "llava_hf"), ("smolvlm", "vllm"), ("aya_vision", "jepa_vlm")],
)
def test_the_lmms_eval_script_depends_on_the_model_family(tmp_path, model_type, model):
    run = lmms_eval(folder(tmp_path / "m", model_type, pixels=None))
    assert option(run.command, "--model") == model
    place = "model" if model == "vllm" else "pretrained"
    assert option(run.command, "--model_args") == f"{place}={tmp_path / 'm'}"


def test_a_model_that_calls_tools_runs_by_the_plug_in_alone(tmp_path):
    held = folder(tmp_path / "m", inference="tools")
    run = lmms_eval(held)
    assert option(run.command, "--model") == "jepa_vlm"
    assert option(run.command, "--model_args") == f"pretrained={tmp_path / 'm'}"
    for program in (vllm, vlmevalkit):
        with pytest.raises(ExportError, match=r"answers by 'tools'.*--for lmms-eval"):
            program(held)


@pytest.mark.parametrize(
    ("name", "model_type", "program", "message"),
    [
        ("a,b", "qwen2_5_vl", lmms_eval, "splits its arguments at ','"),
        ("m", "qwen3_vl_moe", lmms_eval, "must hold the size of its experts, such as A3B"),
        ("on-A100B", "qwen3_vl", lmms_eval, "must hold nothing like A3B"),
        ("m", "mllama", vllm, "up to release 0.10.2 only"),
        ("m", "internvl", vlmevalkit, "no class that loads a folder of internvl"),
        ("omni-pearl", "qwen3_vl", vlmevalkit, "for Qwen3-Omni"),
    ],
)
def test_a_folder_that_a_program_would_misread_is_refused(tmp_path, name, model_type, program, message):
    held = folder(tmp_path / name, model_type)
    with pytest.raises(ExportError, match=message):
        program(held)


def test_a_qwen3_vl_with_experts_in_a_folder_that_says_so(tmp_path):
    run = lmms_eval(folder(tmp_path / "pearl-30B-A3B", "qwen3_vl_moe"))
    assert option(run.command, "--model") == "qwen3_vl"
    config = json.loads(vlmevalkit(tmp_path / "pearl-30B-A3B").files["vlmevalkit.json"])
    assert config["model"]["pearl-30B-A3B"]["temperature"] == 0


def test_scripts_are_written_all_or_not_at_all(tmp_path):
    place = folder(tmp_path / "m", "internvl")
    with pytest.raises(ExportError):
        write_scripts(place, ["lmms-eval", "vlmevalkit"])
    with pytest.raises(UnknownNameError, match="Did you mean 'vllm'"):
        write_scripts(place, ["vlm"])
    assert sorted(path.name for path in place.iterdir()) == ["config.json", "processor_config.json"]


def test_a_folder_that_is_no_exported_model_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"recipe": {"value": "pearl"}}')  # a run's
    with pytest.raises(ExportError, match="must be an exported model"):
        ExportedFolder.read(tmp_path)


def test_the_command_writes_scripts_for_an_exported_model(exported):
    runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"})
    done = runner.invoke(app, ["export", str(exported), "--for", "vllm", "--json"])
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["run"]["vllm"]["release"] == "vllm 0.33.0"
    said = runner.invoke(app, ["export", str(exported), "--for", "lmms-eval"])
    assert f"pretrained={exported}" in said.stdout
    assert runner.invoke(app, ["export", str(exported), "--for", "lmm-eval"]).exit_code == 2
    assert runner.invoke(app, ["export", str(exported)]).exit_code == 2
