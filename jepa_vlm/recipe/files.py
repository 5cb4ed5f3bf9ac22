"""Recipe files: find them, read their parameters without running them or importing torch, and run them."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, final, get_args, get_origin

from jepa_vlm.errors import JepaVLMError, RecipeError, UnknownNameError
from jepa_vlm.recipe.recipe import Recipe

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


def load_recipe(name_or_path: str | Path, **parameters: object) -> Recipe:
    """Return a shipped recipe by name, or the recipe of a .py file.

    Args:
        name_or_path: ``"pearl"``, or a path to a file with a function ``recipe``.
        parameters: Of the recipe's own signature. A string is converted by the parameter's annotation.

    Raises:
        UnknownNameError: If the recipe or a parameter does not exist.
        RecipeError: If a value has the wrong type or the recipe refuses it, or the file is not a recipe.
    """
    file = describe_recipe(name_or_path)
    check_parameters(file, parameters)
    build = _run(file.path, file.name)
    try:
        hints = typing.get_type_hints(build)
    except NameError as err:
        raise RecipeError(
            f"An annotation of recipe() in {file.path} names {err.name!r}, which the file does not import when it is "
            "run; import it outside of TYPE_CHECKING."
        ) from None
    given = {name: _converted(file.name, name, value, hints.get(name, Any)) for name, value in parameters.items()}
    try:
        recipe = build(**given)
    except JepaVLMError:
        raise
    except Exception as err:  # whatever a user's file may raise
        shown = ", ".join(f"{name}={value!r}" for name, value in given.items()) or "its defaults"
        kind = "" if isinstance(err, (ValueError, TypeError)) else f"{type(err).__name__}: "
        raise RecipeError(f"Recipe {file.name!r} with {shown}: {kind}{err}") from err
    if not isinstance(recipe, Recipe):
        raise RecipeError(
            f"The function recipe() of {file.path} must return a jepa_vlm.Recipe, got {type(recipe).__name__}."
        )
    return recipe


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


def _run(path: Path, name: str) -> Callable[..., object]:
    """Return the function of a file that is run once, and again only when it has changed."""
    digest = hashlib.sha256(str(path.resolve()).encode() + path.read_bytes()).hexdigest()[:12]
    known = f"jepa_vlm_recipe_{path.stem}_{digest}"
    if known in sys.modules:
        return cast("Callable[..., object]", sys.modules[known].recipe)
    spec = importlib.util.spec_from_file_location(known, path)
    if spec is None or spec.loader is None:
        raise RecipeError(f"Recipe file {path} cannot be imported; it must be a .py file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[known] = module  # dataclasses look their module up there, and so does pickle
    try:
        spec.loader.exec_module(module)
    except Exception as err:
        del sys.modules[known]
        raise RecipeError(f"Recipe {name!r} ({path}) fails when it is imported: {type(err).__name__}: {err}") from err
    return cast("Callable[..., object]", module.recipe)


def _converted(recipe: str, name: str, value: object, annotation: object) -> object:
    if annotation is Any:
        return value
    for option in _options(annotation):
        found, result = _as(value, option)
        if found:
            return result
    wanted = getattr(annotation, "__name__", None) or str(annotation).replace("typing.", "")
    came = f"{value!r} ({type(value).__name__})"
    raise RecipeError(f"Parameter {name!r} of recipe {recipe!r} must be {wanted}, got {came}.")


def _options(annotation: object) -> tuple[object, ...]:
    union = get_origin(annotation) in (typing.Union, types.UnionType)
    return get_args(annotation) if union else (annotation,)


def _as(value: object, option: object) -> tuple[bool, object]:
    """Return whether ``value`` is, or spells, an ``option``, and what it then is."""
    if get_origin(option) is Literal:
        matches = [choice for choice in get_args(option) if value == choice or value == str(choice)]
        return bool(matches), matches[0] if matches else None
    if option is type(None):
        return value is None or value == "none", None
    if option is bool:
        words = {"true": True, "false": False}
        return (
            (True, value) if isinstance(value, bool) else (str(value).lower() in words, words.get(str(value).lower()))
        )
    if option in (int, float):
        return _as_number(value, option)
    if isinstance(option, type):
        return isinstance(value, option), value
    return True, value


def _as_number(value: object, kind: object) -> tuple[bool, object]:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return False, None
    try:
        number = float(value)
    except ValueError:
        return False, None
    if kind is int:
        return number.is_integer(), int(number) if number.is_integer() else None
    return True, number
