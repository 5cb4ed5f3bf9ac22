"""Errors meant for users: what must hold, what came, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class JepaVLMError(Exception):
    """Base of every error that a user can cause and mend; the command line prints it without a traceback."""


class DataError(JepaVLMError):
    """A data file, a row of it, an image or a box is not what it must be.

    Args:
        message: What must hold, what came, what to do.
        problem: The kind of problem in a word or two, by which checks count: ``"image missing"``.
    """

    def __init__(self, message: str, problem: str = "row") -> None:
        super().__init__(message)
        self.problem = problem

    def at(self, place: str) -> DataError:
        """Return the error with its file and row in front."""
        return DataError(f"{place}: {self}", self.problem)


class BackboneError(JepaVLMError):
    """A vision-language model cannot be loaded, or cannot do what is asked of it."""


class RecipeError(JepaVLMError):
    """A recipe or one of its parameters is not what it must be."""


class RunError(JepaVLMError):
    """A run cannot start, or stopped because a check failed."""


class InterruptedRunError(RunError):
    """A run was stopped by a signal; its checkpoint is saved and the message says how to go on."""


class ExportError(JepaVLMError):
    """A merged checkpoint differs from the model that it was made of."""


class UnknownNameError(JepaVLMError):
    """No component is filed under the name; says which names come close and which exist.

    Args:
        kind: What is looked up, in the singular: ``"recipe"``.
        name: The name that was not found.
        known: Every name that exists.
        hint: One sentence on how to add a new one, or "".
    """

    def __init__(self, kind: str, name: str, *, known: Iterable[str], hint: str = "") -> None:
        names = sorted(known)
        close = difflib.get_close_matches(name, names, n=1)
        meant = f" Did you mean {close[0]!r}?" if close else ""
        super().__init__(
            f"No {kind} named {name!r}.{meant} Known: {', '.join(names) or 'none'}.{' ' + hint if hint else ''}"
        )
        self.kind, self.name, self.known = kind, name, names


def missing_extra(package: str, extra: str, purpose: str) -> JepaVLMError:
    """Return the one-line error for an optional dependency that is not installed."""
    return JepaVLMError(f"{purpose} needs {package}; install it with: pip install 'jepa-vlm[{extra}]'.")
