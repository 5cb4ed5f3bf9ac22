"""Which arms are another one with terms left out: found by what they trained, not by what they are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final


@final
@dataclass(frozen=True)
class Trained:
    """What an arm trained.

    Args:
        arm: Its name.
        terms: Of its objective: by name, the weight and what the term prints as.
        values: Whatever else decides its runs: data, adapter, optimiser.
    """

    arm: str
    terms: Mapping[str, str]
    values: Mapping[str, Any]


def ablations(arms: Sequence[Trained]) -> list[dict[str, Any]]:
    """Return for every arm that others are parts of: those others, with the terms that each leaves out.

    One arm is another one without some terms if every term of it is a term of the other, weight included, and all its
    other values are the same. An arm that is itself part of a larger one heads no list of its own.

    Returns:
        ``{"full": ARM, "rows": [{"arm": ARM, "without": [TERM, ...]}, ...]}``, the fullest rows first.
    """
    found = []
    for full in arms:
        parts = [one for one in arms if _is_part(one, full)]
        if not parts or any(_is_part(full, larger) for larger in arms):
            continue
        parts.sort(key=lambda one: -len(one.terms))
        rows = [{"arm": one.arm, "without": [name for name in full.terms if name not in one.terms]} for one in parts]
        found.append({"full": full.arm, "rows": rows})
    return found


def _is_part(one: Trained, full: Trained) -> bool:
    fewer = len(one.terms) < len(full.terms) and one.terms.items() <= full.terms.items()
    return fewer and bool(one.terms) and one.values == full.values
