"""``jepa-vlm recipes``."""

from __future__ import annotations

from dataclasses import asdict

import typer

from jepa_vlm.cli.output import Json, columns, write, write_json
from jepa_vlm.recipe.files import RecipeFile, list_recipes


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(recipes)


def recipes(json: Json = False) -> None:
    """List the shipped recipes and their parameters."""
    found = list_recipes()
    if json:
        write_json({"recipes": [{**asdict(file), "summary": file.summary} for file in found]})
        return
    write(columns([(file.name, file.summary) for file in found]))
    write("\nParameters of one: jepa-vlm recipe NAME --help.  A recipe of your own: jepa-vlm recipe PATH.py")


def parameters_text(file: RecipeFile) -> str:
    """Return a recipe's own parameters as text."""
    rows = [(f"--set {p.name}={p.default}", p.annotation) for p in file.parameters]
    table = columns(rows, indent="  ") if rows else "  none"
    return f"Recipe {file.name!r}\n\n{file.docstring}\n\nIts parameters, with their defaults:\n{table}"
