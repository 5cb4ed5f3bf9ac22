"""Counts over the rows of a source, kept small: what a check prints and what statistics are drawn from."""

from __future__ import annotations

from collections import Counter
from typing import Any, final

from jepa_vlm.analysis.survey import RowFacts

SHOWN = 5  # offenders of each problem that are named


@final
class Tally:
    """Counts rows as they come. Values are counted, not listed, so that memory does not grow with the rows."""

    def __init__(self) -> None:
        self.rows = 0
        self.problems: Counter[str] = Counter()
        self.offenders: dict[str, list[str]] = {}
        self.counts: dict[str, Counter[Any]] = {name: Counter() for name in ("tasks", "calls", "tools", "images")}
        self.boxes: Counter[int] = Counter()
        self.latents: Counter[int] = Counter()
        self.notes: Counter[str] = Counter()
        self.tokens: dict[str, dict[str, Counter[int]]] = {}

    def add(self, facts: RowFacts) -> None:
        """Count one row."""
        self.rows += 1
        if facts.problem:
            self.problem(facts.problem, facts.message)
            return
        for name, value in (("tasks", facts.task), ("calls", facts.calls), ("images", facts.images)):
            self.counts[name][value] += 1
        self.notes.update(facts.notes)
        self.counts["tools"].update(facts.tools)
        self.boxes.update(min(99, int(share * 100)) for share in facts.boxes)
        self.latents.update(facts.latents)
        for view, tokens in facts.tokens.items():
            kinds = self.tokens.setdefault(view, {name: Counter() for name in ("total", "visual", "supervised")})
            for kind, counter in kinds.items():
                counter[getattr(tokens, kind)] += 1

    def problem(self, kind: str, message: str) -> None:
        """Count a problem, and keep the first messages of its kind."""
        self.problems[kind] += 1
        named = self.offenders.setdefault(kind, [])
        if len(named) < SHOWN:
            named.append(message)

    def summary(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        bad = sum(self.problems.values())
        return {
            "rows": self.rows,
            "good": self.rows - bad,
            "bad": bad,
            "problems": {
                kind: {"count": count, "first": self.offenders[kind]} for kind, count in self.problems.most_common()
            },
            "notes": dict(self.notes.most_common()),
            **{name: {str(key): value for key, value in sorted(c.items())} for name, c in self.counts.items()},
            "tokens": {v: {kind: spread(c) for kind, c in kinds.items()} for v, kinds in self.tokens.items()},
            "box_percent": {str(key): value for key, value in sorted(self.boxes.items())},
            "box_tokens": {str(key): value for key, value in sorted(self.latents.items())},
        }


def spread(counter: Counter[int]) -> dict[str, float]:
    """Return count, smallest, mean, median, 95th percentile and largest of the values that were counted."""
    total = sum(counter.values())
    if not total:
        return {"count": 0}
    values = sorted(counter)
    return {
        "count": total,
        "min": values[0],
        "mean": round(sum(value * counter[value] for value in values) / total, 2),
        "median": _quantile(counter, values, 0.5 * total),
        "p95": _quantile(counter, values, 0.95 * total),
        "max": values[-1],
    }


def _quantile(counter: Counter[int], values: list[int], rank: float) -> int:
    seen = 0
    for value in values:
        seen += counter[value]
        if seen >= rank:
            break
    return value
