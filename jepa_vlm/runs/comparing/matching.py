"""How many steps each arm trains, so that all of them spend the same: steps, tokens or FLOPs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from jepa_vlm.errors import RunError

Match = Literal["steps", "tokens", "flops"]
MATCHES: tuple[Match, ...] = get_args(Match)


def matched_steps(by: Match, reference: str, facts: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """Return each arm's steps, of which the reference's own are what they are.

    Args:
        by: ``steps``: every arm takes the reference's. ``tokens`` and ``flops``: as many steps as come closest to what
            the reference spends, at least one.
        reference: The arm whose steps are the budget.
        facts: By arm, see ``facts``: ``values``, ``per_step`` and ``cost``.

    Raises:
        RunError: If a cost that is needed was not counted.
    """
    steps = int(facts[reference]["values"]["steps"])
    if by == "steps":
        return dict.fromkeys(facts, steps)
    budget = steps * step_cost(facts[reference], by, reference)
    return {name: max(1, round(budget / step_cost(one, by, name))) for name, one in facts.items()}


def step_cost(facts: Mapping[str, Any], by: str, name: str = "") -> float:
    """Return the tokens or the FLOPs of one step.

    Raises:
        RunError: If they were not counted.
    """
    if facts["cost"] is None:
        raise RunError(f"What {name} costs could not be counted ({facts['cost_missing']}); match by steps instead.")
    return float(facts["per_step"] * facts["cost"][by])
