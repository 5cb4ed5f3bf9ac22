"""Other packages add commands and programs through entry points."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest
import typer
from typer.testing import CliRunner

from jepa_vlm import plugins
from jepa_vlm.cli.app import app
from jepa_vlm.plugins import COMMANDS, ProgramCommand


@pytest.fixture
def added(monkeypatch):
    """A package with a command group, under a name of its own and under the name of one of ours."""
    module, group = ModuleType("added"), typer.Typer()
    group.command("one")(lambda: typer.echo("one ran"))
    group.command("two")(lambda: typer.echo("two ran"))
    module.group = group
    monkeypatch.setitem(sys.modules, "added", module)
    found = [EntryPoint("more", "added:group", COMMANDS), EntryPoint("recipes", "added:missing", COMMANDS)]
    monkeypatch.setattr(plugins, "entry_points", lambda *, group: [one for one in found if one.group == group])


def test_a_command_of_another_package_runs(added):
    assert CliRunner().invoke(app, ["more", "one"]).stdout == "one ran\n"


def test_a_command_of_another_package_does_not_replace_ours(added):
    assert "pearl" in CliRunner().invoke(app, ["recipes"]).stdout


def test_a_command_that_nobody_adds_is_refused(added):
    assert CliRunner().invoke(app, ["less"]).exit_code == 2


def test_the_script_writes_remarks_as_comments_and_quotes_arguments():
    command = ProgramCommand(program="p", release="p 1.0", command=("run", "a b"), remarks=("It needs a GPU.",))
    assert command.script() == (
        "#!/bin/sh\n# p, written for p 1.0.\n# It needs a GPU.\nset -eu\nexec run 'a b' \"$@\"\n"
    )
