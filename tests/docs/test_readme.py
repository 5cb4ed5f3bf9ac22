"""What the README and the pages say holds: commands, tables, tree, links, examples."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.main import get_command

import jepa_vlm as jv
from jepa_vlm.adapters.names import BACKBONES
from jepa_vlm.adapters.processors import torchvision_works
from jepa_vlm.adapters.tiny import TINY
from jepa_vlm.cli.backbones import table
from jepa_vlm.conformance import verify
from jepa_vlm.plugins import COMMANDS, plugins
from jepa_vlm.recipe import list_recipes

PROJECT = Path(__file__).resolve().parents[2]
README = (PROJECT / "README.md").read_text(encoding="utf-8")
PAGES = sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md")])
BULK = ("tests", "docs", "recipes", "benchmarks")


def command(name: str) -> list[str]:
    steps = runpy.run_path(str(PROJECT / ".ci" / "readme_command.py"))["steps"]
    return steps(name, README)


def section(title: str) -> str:
    return README.split(f"## {title}\n")[1].split("\n## ")[0]


def page(name: str) -> str:
    return (PROJECT / "docs" / f"{name}.md").read_text(encoding="utf-8")


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 120


def test_the_commands_are_one_line_each_and_install_what_they_need():
    run, test = command("run"), command("test")
    assert run[0] == "python3 -m venv .venv"
    assert run[1] == test[0] == ". .venv/bin/activate"
    assert run[-1] == "jepa-vlm recipe pearl"
    assert test[-1] == 'pytest -n 2 --dist loadfile -m "not slow"'
    assert all(step.startswith("pip install ") for step in (*run[2:-1], *test[1:-1]))


def test_the_torch_that_is_named_is_the_tested_one():
    (pinned,) = re.findall(
        r"^torch==([\d.]+)$", (PROJECT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE
    )
    named = {version for page in PAGES for version in re.findall(r"torch==([\d.]+)", page.read_text(encoding="utf-8"))}
    assert named == {pinned}


def test_the_tree_is_the_tree():
    tree = re.search(r"```\n(.*?)```", page("layout"), re.DOTALL).group(1)
    shown = {line.split()[0].rstrip("/") for line in tree.splitlines() if line.startswith("  ")}
    package = PROJECT / "jepa_vlm"
    rooms = {path.parent.name for path in package.glob("*/__init__.py")}
    assert shown == rooms | {path.name for path in package.glob("*.py") if path.name != "__init__.py"}
    outside = {line.split()[0].rstrip("/") for line in tree.splitlines() if not line.startswith(" ")} - {"jepa_vlm"}
    assert outside == {name for name in BULK if any((PROJECT / name).glob("*"))}


def test_the_layers_are_the_layers():
    guide = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    shown = guide.split("## Layers")[1].split("```")[1].split()
    contract = (PROJECT / "pyproject.toml").read_text(encoding="utf-8").split("layers = [")[1].split("]")[0]
    assert [word for word in shown if word != "|"] == re.findall(r"jepa_vlm\.(\w+)", contract)


def test_every_recipe_has_its_row():
    assert set(re.findall(r"^\| `(\w+)` \|", page("recipes"), re.MULTILINE)) == {r.name for r in list_recipes()}


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.name)
def test_links_lead_somewhere(file):
    text = re.sub(r"```.*?```", "", file.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        found = file.parent / name if name else file
        assert found.exists(), target
        if anchor:
            assert anchor in _anchors(found.read_text(encoding="utf-8")), target


def _anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_composed_objective_runs():
    first, second = re.findall(r"```python\n(.*?)```", section("The same thing in Python"), re.DOTALL)
    names: dict[str, object] = {}
    exec(first, names)  # noqa: S102 - the README's own example
    assert names["objective"].weights == {"next_token": 1.0, "latent_prediction": 0.2, "next_latent": 0.2}
    assert set(names["terms"].raw) == {"next_token", "latent_prediction", "next_latent"}
    assert any(parameter.grad is not None for parameter in names["model"].parameters())
    before_training = second.partition("jv.train(")[0]
    exec(before_training, names)  # noqa: S102
    assert names["recipe"].objective is names["objective"]


def test_the_parts_that_the_readme_swaps_exist():
    sentence = section("The same thing in Python").split("Swap a part")[1].splitlines()[0]
    calls = re.findall(r"jv\.(\w+)\(", sentence)
    assert len(calls) >= 3
    assert set(calls) <= set(jv.__all__)


def commands() -> dict[str, Any]:
    """Return every command line program that the documentation names."""
    from benchmarks.inference.__main__ import app as inference
    from benchmarks.step.__main__ import app as step
    from jepa_vlm.cli.app import app

    programs = {"jepa-vlm": app, "python -m benchmarks.step": step, "python -m benchmarks.inference": inference}
    found = {name: get_command(program) for name, program in programs.items()}
    group = found["jepa-vlm"]
    group.commands |= {name: group.get_command(None, name) for name in plugins(COMMANDS)}
    return found


def named_text() -> str:
    """Return the documentation without the changelog, which also names commands that no longer exist."""
    return "\n".join(page.read_text(encoding="utf-8") for page in PAGES if page.name != "CHANGELOG.md")


def test_every_command_and_flag_that_is_named_exists():
    text = named_text()
    for program, command in commands().items():
        spans = re.findall(rf"`({program}(?: [^`]*)?)`", text)
        spans += re.findall(rf"^ *(?:.*&& )?({program}(?: .*)?)$", text, re.MULTILINE)
        assert spans
        for span in spans:
            named, words = command, span.removeprefix(program).split()
            while words and words[0] in getattr(named, "commands", {}):
                named = named.commands[words.pop(0)]
            assert not (getattr(named, "commands", {}) and words and not words[0].startswith("-")), span
            flags = {flag for option in named.params for flag in option.opts}
            assert {word for word in words if word.startswith("--")} <= flags | {"--help", "--debug"}, span


def test_the_flags_that_stand_alone_exist():
    found = [*commands().values()]
    found += [inner for command in found for inner in command.commands.values()]
    found += [inner for command in found for inner in getattr(command, "commands", {}).values()]
    options = [option for command in found for option in command.params]
    flags = {flag for option in options for flag in (*option.opts, *option.secondary_opts)}
    named = set(re.findall(r"`(--[a-z-]+)", named_text()))
    assert named <= flags | {"--debug", "--help"}


@pytest.mark.slow
def test_the_families_are_what_verify_says():
    """The table is generated; this generates it again, but for the last rows where torchvision is missing."""
    names = re.findall(r"^\| `\w+` \| `([^`]+)` \|", page("families"), re.MULTILINE)
    assert names == [name for name in BACKBONES if name.startswith("tiny-random")]
    built = [name for name in names if torchvision_works() or not TINY[name].torchvision]
    found = {name: verify(name, dtype=torch.float64) for name in built}
    assert table(found) in page("families")
