"""``jepa_vlm.contrib`` is found by name, and nothing else of the package loads it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from jepa_vlm.cli.app import app
from jepa_vlm.plugins import COMMANDS, PROGRAMS
from tests.conftest import declared_entry_points

CORE = """
import importlib, pathlib, sys
import jepa_vlm
folder = pathlib.Path(jepa_vlm.__file__).parent
for path in sorted(folder.rglob("*.py")):
    name = ".".join(("jepa_vlm", *path.relative_to(folder).with_suffix("").parts)).removesuffix(".__init__")
    if not name.startswith("jepa_vlm.contrib") and not name.endswith("__main__"):
        importlib.import_module(name)
model = jepa_vlm.LatentVLM(jepa_vlm.load_backbone("tiny-random-qwen2.5-vl"), jepa_vlm.load_recipe("pearl").objective)
model(model.collator()(jepa_vlm.playground.trajectories("maze", count=2))).total.backward()
print(*[name for name in sys.modules if name.startswith("jepa_vlm.contrib")])
"""


def test_importing_and_running_the_core_does_not_load_contrib():
    done = subprocess.run([sys.executable, "-c", CORE], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("entry", declared_entry_points(group=COMMANDS), ids=lambda entry: entry.name)
def test_a_declared_command_is_listed_and_runs(entry):
    runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert entry.name in runner.invoke(app, ["--help"]).stdout
    done = runner.invoke(app, [entry.name, "--help"])
    assert done.exit_code == 0
    assert f"{entry.name} [OPTIONS] COMMAND" in done.stdout
    assert runner.invoke(app, ["nonsense"]).exit_code == 2


@pytest.mark.parametrize(
    "entry",
    [one for group in (COMMANDS, PROGRAMS, "lmms_eval.models") for one in declared_entry_points(group=group)],
    ids=str,
)
def test_a_declared_entry_point_names_an_object_of_contrib(entry):
    assert entry.module.startswith("jepa_vlm.contrib.")
    assert callable(entry.load())
