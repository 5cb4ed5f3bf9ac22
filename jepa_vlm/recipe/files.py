"""Find recipe files and read what they say about themselves, without running them and without importing torch."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import final

from jepa_vlm.errors import RecipeError, UnknownNameError

PACKAGE = Path(__file__).resolve().parents[1]
IN_WHEEL = PACKAGE / "_recipes"
IN_CHECKOUT = PACKAGE.parent / "recipes"


@final
@dataclass(frozen=True)
class Parameter:
    """One parameter of a recipe, as its signature writes it.

    Args:
        name: The parameter.
        annotation: Its type, as source text, or "".
        default: Its default, as source text; None if it has none.
    """

    name: str
    annotation: str
    default: str | None


@final
@dataclass(frozen=True)
class RecipeFile:
    """A recipe file as it reads, not yet run.

    Args:
        name: What the user calls it.
        path: The file.
        docstring: The module's docstring.
        parameters: Of its ``recipe`` function.
    """

    name: str
    path: Path
    docstring: str
    parameters: tuple[Parameter, ...]

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return self.docstring.partition("\n")[0]


def recipes_folder() -> Path:
    """Return the folder of the shipped recipes: inside an installed wheel, or beside the package in a checkout."""
    return IN_WHEEL if IN_WHEEL.is_dir() else IN_CHECKOUT


def list_recipes() -> tuple[RecipeFile, ...]:
    """Return the shipped recipes, by name."""
    return tuple(_read(path.stem, path) for path in sorted(recipes_folder().glob("*.py")) if path.stem[0] != "_")


def describe_recipe(name_or_path: str | Path) -> RecipeFile:
    """Return what a shipped recipe, or a user's .py file, says about itself.

    Raises:
        UnknownNameError: If no shipped recipe has the name.
        RecipeError: If the file is missing, is not Python, or has no function ``recipe``.
    """
    text = str(name_or_path)
    if text.endswith(".py") or "/" in text or isinstance(name_or_path, Path):
        return _read(text, Path(text).expanduser())
    known = {path.stem: path for path in recipes_folder().glob("*.py")}
    if text not in known:
        hint = "A recipe of your own is a path to a .py file."
        raise UnknownNameError("recipe", text, known=known, hint=hint)
    return _read(text, known[text])


def check_parameters(file: RecipeFile, names: Iterable[str]) -> None:
    """Refuse parameters that a recipe does not have.

    Raises:
        UnknownNameError: If there is one.
    """
    known = [parameter.name for parameter in file.parameters]
    for name in names:
        if name not in known:
            raise UnknownNameError(f"parameter of recipe {file.name!r}", name, known=known)


def _read(name: str, path: Path) -> RecipeFile:
    if not path.is_file():
        raise RecipeError(f"Recipe file {path} does not exist; `jepa-vlm recipes` lists the shipped ones.")
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except (SyntaxError, UnicodeDecodeError) as err:
        raise RecipeError(f"Recipe file {path} is not valid Python: {err}.") from None
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "recipe"]
    if not functions:
        raise RecipeError(f"Recipe file {path} needs a function `def recipe(*, ...) -> Recipe`, found none.")
    return RecipeFile(name, path, ast.get_docstring(tree) or "", _parameters(functions[-1].args))


def _parameters(arguments: ast.arguments) -> tuple[Parameter, ...]:
    positional = arguments.posonlyargs + arguments.args
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
    pairs = list(zip(positional, defaults, strict=True))
    pairs += list(zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True))
    return tuple(
        Parameter(
            argument.arg,
            ast.unparse(argument.annotation) if argument.annotation else "",
            ast.unparse(default) if default is not None else None,
        )
        for argument, default in pairs
    )
