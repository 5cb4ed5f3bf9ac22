"""Accuracies and comparisons as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from jepa_vlm.cli.output import columns

if TYPE_CHECKING:
    from jepa_vlm.evaluation import BesidePaper, Evaluation, McNemar


def accuracy_text(found: Mapping[str, Evaluation]) -> str:
    """Return accuracies as a table; a benchmark of several tasks gets a line for each, one of pairs a line for them."""
    rows = []
    for spec, evaluation in found.items():
        for scored in evaluation.scored:
            rules = scored.protocol.name
            how = scored.protocol.scoring if rules.startswith("jepa-vlm") else f"{scored.protocol.scoring} ({rules})"
            lines = [("all", scored.overall)]
            lines += scored.tasks.items() if len(scored.tasks) > 1 else ()
            lines += [] if scored.groups is None else [("whole groups", scored.groups)]
            for task, one in lines:
                sure = f"[{one.low:.1%}, {one.high:.1%}] n={one.n}"
                unreadable = f"{scored.parse_failure_rate:.1%}" if task == "all" else ""
                rows.append((spec, how, task, f"{one.value:.1%}", sure, unreadable))
    table = columns([("BENCHMARK", "SCORING", "TASK", "ACCURACY", "INTERVAL", "UNREADABLE"), *rows])
    scorings = [(spec, scored) for spec, evaluation in found.items() for scored in evaluation.scored]
    used = [
        f"{spec}: " + ", ".join(f"{name} {count:,}" for name, count in scored.tool_use.items())
        for spec, scored in scorings
        if scored.tool_use is not None
    ]
    thought = [
        f"{spec}, {scored.protocol.scoring}: {scored.protocol.latents}; the latent path ran in "
        f"{scored.latent_use['answers']} of {scored.overall.n} answers, {scored.latent_use['steps']:,} steps in all"
        for spec, scored in scorings
        if scored.latent_use is not None
    ]
    opened = [
        f"{spec}, {scored.protocol.scoring}: written whole in {scored.opening_use['whole']} of {scored.overall.n} "
        f"answers, some of it in {scored.opening_use['some']}"
        for spec, scored in scorings
        if scored.opening_use is not None
    ]
    told = {"Tools": used, "Latents": thought, "Response prefix": opened}
    return "\n".join([table, *(line for title, lines in told.items() if lines for line in ("", title, *lines))])


def beside_paper_text(found: BesidePaper) -> str:
    """Return what was measured beside the paper's rows, and what stands against a comparison."""
    return "\n".join([columns(found.table()), "", *found.remarks])


def comparison_text(tests: Mapping[str, Mapping[str, McNemar]]) -> str:
    """Return what the exact McNemar tests say, as a table."""
    rows = [
        (spec, name, str(test.only_a), str(test.only_b), str(test.n), f"{test.p_value:.3g}")
        for spec, some in tests.items()
        for name, test in some.items()
    ]
    titles = ("BENCHMARK", "SCORING", "ONLY FIRST RIGHT", "ONLY SECOND RIGHT", "OF", "EXACT MCNEMAR P (TWO-SIDED)")
    return columns([titles, *rows])
