"""Options of a command are made from the fields of a settings dataclass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import typer
from typer.testing import CliRunner

from jepa_vlm.cli.options import takes_options
from jepa_vlm.errors import RecipeError
from jepa_vlm.runs.settings import Option


@dataclass(frozen=True)
class Example:
    """One field of each kind that settings have."""

    steps: Annotated[int | None, Option("Steps.", least=1, shared="Steps of all.")] = None
    rate: Annotated[float | None, Option("Rate.", flag="--lr")] = None
    kind: Annotated[Literal["a", "b", "c"] | None, Option("Kind.", offered=("a", "b"))] = None
    weights: Annotated[
        Mapping[str, float] | None, Option("Weights.", flag="--weigh", pairs=("PART=FACTOR", "vision=2"))
    ] = None
    names: Annotated[tuple[str, ...], Option("Names.")] = ()
    output: Annotated[str | Path, Option("Folder.")] = "out"
    again: Annotated[bool, Option("Again.")] = False


@pytest.fixture
def run():
    def invoke(*words: str, only: tuple[str, ...] | None = None) -> Any:
        app, found = typer.Typer(), {}

        @app.command()
        @takes_options("settings", Example, only=only)
        def command(word: str, settings: dict[str, Any]) -> None:
            found.update(settings, word=word)

        done = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, ["hello", *words])
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.output if done.exit_code or "--help" in words else found

    return invoke


def test_only_what_the_user_gives_is_set(run):
    assert run() == {"word": "hello", "output": Path("out")}
    words = [
        "--steps",
        "3",
        "--lr",
        "0.5",
        "--kind",
        "b",
        "--names",
        "x",
        "--names",
        "y",
        "--output",
        "here",
        "--again",
    ]
    assert run(*words) == {
        "word": "hello",
        "steps": 3,
        "rate": 0.5,
        "kind": "b",
        "names": ("x", "y"),
        "output": Path("here"),
        "again": True,
    }


def test_pairs_become_a_mapping(run):
    assert run("--weigh", "vision=2", "--weigh", "language=0.5")["weights"] == {"vision": 2.0, "language": 0.5}
    for wrong in ("vision", "vision=many", "=2"):
        with pytest.raises(RecipeError, match=r"--weigh takes PART=FACTOR, got .* for example --weigh vision=2\."):
            run("--weigh", wrong)


def test_bounds_choices_and_help_are_the_fields(run):
    assert "greater than or equal to 1" in run("--steps", "0")
    assert "is not one of" in run("--kind", "c")
    assert "Steps." in run("--help")
    shared = run("--help", only=("steps",))
    assert "Steps of all." in shared
    assert "--lr" not in shared
