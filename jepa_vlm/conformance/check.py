"""A check of a backbone, and its result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, final

if TYPE_CHECKING:
    from jepa_vlm.conformance.subject import Subject

Verdict = Literal["pass", "fail", "not applicable"]


class CheckFailed(Exception):  # noqa: N818 - a verdict, not an error of the program
    """Raised by a check that fails; the message is what differs."""


class NotApplicable(Exception):  # noqa: N818
    """Raised by a check that does not apply to a family; the message is why."""


@final
@dataclass(frozen=True)
class Check:
    """One check.

    Args:
        key: Short name, for ``--only``.
        name: What must hold.
        meaning: What a failure means for a user.
        run: Returns a few words on what was compared.
    """

    key: str
    name: str
    meaning: str
    run: Callable[[Subject], str]


@final
@dataclass(frozen=True)
class CheckResult:
    """Result of one check.

    Args:
        key, check: Key and name of the check.
        verdict: ``pass``, ``fail`` or ``not applicable``.
        detail: What was compared, what differs, or why the check does not apply.
        meaning: What a failure means; "" otherwise.
    """

    key: str
    check: str
    verdict: Verdict
    detail: str
    meaning: str = ""


def run_check(check: Check, subject: Subject) -> CheckResult:
    """Run a check; an exception that it raises is its failure, so that the others still run."""
    try:
        return CheckResult(check.key, check.name, "pass", check.run(subject))
    except NotApplicable as why:
        return CheckResult(check.key, check.name, "not applicable", str(why))
    except CheckFailed as why:
        return CheckResult(check.key, check.name, "fail", str(why), check.meaning)
    except Exception as err:
        first_line = next(iter(str(err).splitlines()), "")
        detail = f"{type(err).__name__}: {first_line}".rstrip(": ")
        return CheckResult(check.key, check.name, "fail", detail, check.meaning)
