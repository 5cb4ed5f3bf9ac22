"""Options of a command, made from the fields of a settings dataclass."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, fields
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

from jepa_vlm.errors import RecipeError
from jepa_vlm.runs.settings import Option, options_of


def takes_options(
    parameter: str, settings: type, *, only: Collection[str] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that gives a command an option for each field, in place of one of its parameters.

    Args:
        parameter: The command's parameter; it receives a dict of the settings that the user gave.
        settings: A dataclass whose fields have an ``Option``.
        only: Names of the fields; None for all of them.
    """
    chosen = {name: one for name, one in options_of(settings).items() if only is None or name in only}
    defaults = {item.name: None if item.default is MISSING else item.default for item in fields(settings)}
    options = [
        inspect.Parameter(
            name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=None if _repeats(kind) else defaults[name],
            annotation=Annotated[_on_command_line(kind, own), _option(name, own, shared=only is not None)],
        )
        for name, (kind, own) in chosen.items()
    ]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def call(**given: Any) -> None:
            values = {name: _value(kind, own, given.pop(name)) for name, (kind, own) in chosen.items()}
            command(**given, **{parameter: {name: value for name, value in values.items() if value is not None}})

        signature = inspect.signature(command, eval_str=True)
        others = signature.parameters.values()
        parameters = [new for one in others for new in (options if one.name == parameter else [one])]
        # typer reads the options of a command from its signature and its annotations
        call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        call.__annotations__ = {one.name: one.annotation for one in parameters}
        return call

    return decorate


def _option(name: str, own: Option, *, shared: bool) -> Any:
    text = own.shared if shared and isinstance(own.shared, str) else own.help
    return typer.Option(own.flag or "--" + name.replace("_", "-"), help=text, min=own.least)


def _repeats(kind: Any) -> bool:
    return any(get_origin(one) in (tuple, Mapping) for one in (kind, *get_args(kind)))


def _on_command_line(kind: Any, own: Option) -> Any:
    """Return the type as typer takes it: lists for tuples and mappings, and a path where a text or a path may stand."""
    if own.offered:
        return Literal[own.offered] | None
    if _repeats(kind):
        return list[str] | None
    if Path in get_args(kind):
        return Path | None if type(None) in get_args(kind) else Path
    return kind


def _value(kind: Any, own: Option, given: Any) -> Any:
    """Return an option's value as its field takes it; None if the user did not give it."""
    if given is None or given is False or given == []:
        return None
    if own.pairs[0]:
        return _mapping(kind, own, given)
    return tuple(given) if _repeats(kind) else given


def _mapping(kind: Any, own: Option, pairs: list[str]) -> dict[str, Any]:
    """Return what ``NAME=VALUE`` pairs say; the values are numbers where the field's are."""
    number = float in get_args(next(one for one in (kind, *get_args(kind)) if get_origin(one) is Mapping))
    found: dict[str, Any] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        try:
            found[name] = float(value) if number else value
        except ValueError:
            name = ""
        if not name or "=" not in pair:
            form, example = own.pairs
            raise RecipeError(f"{own.flag} takes {form}, got {pair!r}; for example {own.flag} {example}.")
    return found
