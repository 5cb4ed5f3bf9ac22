"""What a check found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, final

if TYPE_CHECKING:
    from jepa_vlm.conformance.subject import Subject

Verdict = Literal["pass", "fail", "not applicable"]


class Failure(Exception):  # noqa: N818 - a verdict, not an error of the program
    """Raised by a check that does not hold; says what differs."""


class NotApplicable(Exception):  # noqa: N818
    """Raised by a check that has nothing to say about a family; says why."""


@final
@dataclass(frozen=True)
class Check:
    """One promise.

    Args:
        key: By which it can be asked for alone.
        name: What must hold.
        meaning: What it means for a user if it does not.
        run: Returns a few words on what was compared.
    """

    key: str
    name: str
    meaning: str
    run: Callable[[Subject], str]


@final
@dataclass(frozen=True)
class Result:
    """A promise and what became of it.

    Args:
        key, check: Its key and its name.
        verdict: ``pass``, ``fail`` or ``not applicable``.
        detail: What was compared, what differs, or why not.
        meaning: Of a failure.
    """

    key: str
    check: str
    verdict: Verdict
    detail: str
    meaning: str = ""


def hold(check: Check, subject: Subject) -> Result:
    """Run a check; whatever it raises is its failure, so that the others still run."""
    try:
        return Result(check.key, check.name, "pass", check.run(subject))
    except NotApplicable as why:
        return Result(check.key, check.name, "not applicable", str(why))
    except Failure as why:
        return Result(check.key, check.name, "fail", str(why), check.meaning)
    except Exception as err:
        first_line = next(iter(str(err).splitlines()), "")
        return Result(check.key, check.name, "fail", f"{type(err).__name__}: {first_line}".rstrip(": "), check.meaning)
