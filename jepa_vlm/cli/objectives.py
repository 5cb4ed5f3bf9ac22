"""``jepa-vlm objectives``: the parts that objectives are made of, read from the sources without importing torch."""

from __future__ import annotations

import ast
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

import typer

from jepa_vlm.cli.output import Json, write, write_json

PACKAGE = Path(__file__).resolve().parents[1]
KINDS = {
    "objectives": "Terms",
    "regularizers": "Regularizers (terms too)",
    "predictors": "Predictors",
    "losses": "Losses on latents",
}


@final
@dataclass(frozen=True)
class Component:
    """A class that a user may build.

    Args:
        kind: Its package.
        name: The class.
        arguments: Arguments of its constructor, as source text.
        summary: First line of its docstring.
    """

    kind: str
    name: str
    arguments: str
    summary: str


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(objectives)


def objectives(json: Json = False) -> None:
    """List the terms, predictors and losses that objectives are composed of."""
    found = {kind: components(kind) for kind in KINDS}
    if json:
        write_json({kind: [asdict(each) for each in some] for kind, some in found.items()})
        return
    for kind, title in KINDS.items():
        write(title)
        for each in found[kind]:
            write(f"  {each.name}({each.arguments})\n      {each.summary}")
        write("")
    write("Compose them in Python: jv.NextToken() + 0.2 * jv.LatentPrediction(...); see docs/objectives.md.")


def components(kind: str) -> list[Component]:
    """Return the classes that one package exports and that are not abstract, file by file."""
    found, exported = [], _exported(PACKAGE / kind / "__init__.py")
    for path in sorted((PACKAGE / kind).glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and node.name in exported and _is_final(node):
                summary = (ast.get_docstring(node) or "").partition("\n")[0]
                found.append(Component(kind, node.name, _arguments(node), summary))
    return found


def _exported(path: Path) -> list[str]:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return list(ast.literal_eval(node.value))
    return []


def _is_final(node: ast.ClassDef) -> bool:
    return any(isinstance(mark, ast.Name) and mark.id == "final" for mark in node.decorator_list)


def _arguments(node: ast.ClassDef) -> str:
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            pairs = zip(item.args.kwonlyargs, item.args.kw_defaults, strict=True)
            return ", ".join(f"{name.arg}={ast.unparse(value)}" if value else name.arg for name, value in pairs)
    return ""
