"""Run a recipe file with checked parameters."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, cast, get_args, get_origin

from jepa_vlm.errors import JepaVLMError, RecipeError
from jepa_vlm.recipe.files import check_parameters, describe_recipe
from jepa_vlm.recipe.recipe import Recipe


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
