"""The report of a run: one HTML file made from its folder. A missing file shows as not measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from jepa_vlm.errors import JepaVLMError
from jepa_vlm.evaluation import Evaluation, compare
from jepa_vlm.report.figures import BLUE, GREY, ORANGE, Curve, Panel, accuracy_svg, panels_svg
from jepa_vlm.report.page import write_page
from jepa_vlm.report.recorded_run import RecordedRun, names, read_run, series
from jepa_vlm.training.monitors import in_words

Points = tuple[list[float], list[float]]
HEADLINE = ("recipe", "backbone", "data", "seed", "steps")
SIDES = ("matched", "shuffled", "predicted", "target")  # first part of a monitor's name; the quantity follows
WITHIN = "within_kind"
PANELS = {  # panel title and curve label of monitors whose names do not give them
    "recall_at_1_within_kind": ("R@1 within kind", "prediction"),
    "chance_at_1_within_kind": ("R@1 within kind", "guess"),
    "explained_within_kind": ("explained within kind", "as it is"),
    "explained_centred_within_kind": ("explained within kind", "means off"),
    "matched_cosine": ("cosine, all kinds", "matched"),
    "shuffled_cosine": ("cosine, all kinds", "shuffled"),
}
COUNTS = ("kinds", "compared", "alone")  # monitors that are the same at every step
COLOURS = (BLUE, ORANGE, GREY)
SOURCE_COLOURS = ("#2563eb", "#d97706", "#15803d", "#b91c1c", "#6d28d9", "#8b95a5")
KINDS = {"train": "training", "validation": "held-out"}
TOTAL = "total (weighted sum)"
ANSWER_SHOWN = 120  # characters of a generated answer


def write_run_report(folder: Path) -> Path:
    """Write ``report.html`` into a run folder and return its path.

    Args:
        folder: May contain config.json, metrics.jsonl, evaluation_before.json, evaluation.json, examples.json.

    Raises:
        RunError: If the folder does not exist or its configuration is broken.
        DataError: If another file is broken.
        JepaVLMError: If jinja2 or matplotlib is not installed.
    """
    run = read_run(Path(folder))
    path = run.path / "report.html"
    write_page("run.html", path, _values(run))
    return path


def _values(run: RecordedRun) -> dict[str, object]:
    evaluation = run.after or run.before
    return {
        "title": f"{run.setting('recipe') or 'Run'} on {run.setting('backbone') or 'an unnamed backbone'}",
        "facts": [(name, run.setting(name)) for name in HEADLINE],
        "versions": run.versions or (evaluation.versions if evaluation else {}),
        "commit": run.commit or (evaluation.commit if evaluation else None),
        "accuracy_rows": _accuracy(run.before, run.after),
        "protocols": [one.protocol for one in evaluation.scored] if evaluation else [],
        "benchmark": evaluation.benchmark if evaluation else None,
        "losses": _losses(run),
        "sources": source_losses(run),
        "monitors": _monitors(run),
        "examples": _examples(run),
        "settings": run.settings,
        "command": run.command,
    }


def _accuracy(before: Evaluation | None, after: Evaluation | None) -> list[dict[str, object]]:
    present = [evaluation for evaluation in (before, after) if evaluation is not None]
    scorings = dict.fromkeys(scoring for evaluation in present for scoring in evaluation.scorings)
    return [_scoring(scoring, before, after) for scoring in scorings]


def _scoring(scoring: str, before: Evaluation | None, after: Evaluation | None) -> dict[str, object]:
    first = before[scoring] if before and scoring in before.scorings else None
    second = after[scoring] if after and scoring in after.scorings else None
    tasks = sorted({*(first.tasks if first else ()), *(second.tasks if second else ())})
    rows = [("all", first.overall if first else None, second.overall if second else None)]
    for task in tasks if len(tasks) > 1 else ():
        rows.append((task, first.tasks.get(task) if first else None, second.tasks.get(task) if second else None))
    return {
        "name": scoring,
        "rows": rows,
        "svg": accuracy_svg(rows, name=f"accuracy-{scoring}"),
        "failures": [one.parse_failure_rate if one else None for one in (first, second)],
        "test": _test(scoring, before, after) if before and after and first and second else None,
    }


def _test(scoring: str, before: Evaluation, after: Evaluation) -> str:
    try:
        found = compare(before, after, scoring=scoring)
    except JepaVLMError as err:
        return f"Not compared item by item: {err}"
    return (
        f"Of {found.test.n} items, {found.test.only_b} became right and {found.test.only_a} became wrong; "
        f"exact McNemar test, two-sided: p = {found.test.p_value:.3g}."
    )


def _losses(run: RecordedRun) -> dict[str, object]:
    panels, rows = [], []
    for term in ("", *names(run.metrics, "terms")):
        keys = ("terms", term, "raw") if term else ("loss",)
        train, held_out = series(run.metrics, "train", *keys), series(run.metrics, "validation", *keys)
        curves = []
        if train[0]:
            curves.append(Curve("train", *train, GREY))
        if held_out[0]:
            curves.append(Curve("held-out", *held_out, BLUE, marked=True))
            rows.append((term or TOTAL, *_three(held_out, run)))
        if curves:
            panels.append(Panel(term or TOTAL, curves))
    return {"svg": panels_svg(panels, name="losses") if panels else None, "rows": rows, "best": _best_step(run)}


def _monitors(run: RecordedRun) -> dict[str, object]:
    panels, rows = [], []
    for term in names(run.metrics, "monitors"):
        found = {
            name: points
            for name in names(run.metrics, "monitors", term)
            if name not in COUNTS and not name.startswith("compared_")
            if (points := series(run.metrics, "validation", "monitors", term, name))[0]
        }
        found = dict(sorted(found.items(), key=lambda item: WITHIN not in item[0]))  # monitors within a kind come first
        groups: dict[str, list[Curve]] = {}
        for name, points in found.items():
            side, _, quantity = name.partition("_")
            group, label = PANELS.get(name) or ((quantity, side) if side in SIDES else (name, "held-out"))
            curves = groups.setdefault(group, [])
            curves.append(Curve(label, *points, COLOURS[len(curves) % len(COLOURS)], marked=True))
        panels += [Panel(f"{term}: {group.replace('_', ' ')}", curves) for group, curves in groups.items()]
        for matched in (name for name in found if name.startswith("matched_")):
            shuffled = matched.replace("matched_", "shuffled_", 1)
            of = ", all kinds" if matched == "matched_cosine" else ""
            label = f"matched − {shuffled.replace('_', ' ')}{of}"
            rows.append((term, label, *_gap(found[matched], found[shuffled], run)))
        rows += [(term, name.replace("_", " "), *_three(points, run)) for name, points in found.items()]
    svg = panels_svg(panels, name="monitors") if panels else None
    return {"svg": svg, "rows": rows, "findings": _findings(run)}


def _findings(run: RecordedRun) -> list[tuple[str, str]]:
    """Return for each latent term a sentence on its prediction at the best step, with the number of examples."""
    held = {row["step"]: row.get("monitors", {}) for row in run.metrics if row.get("kind") == "validation"}
    best = _best_step(run)
    if not held or best is None:
        return []
    first, now = held[min(held)], held[best]
    said = [(term, in_words(first.get(term, {}), found), found) for term, found in now.items()]
    return [(term, f"{words} {_basis(found)}") for term, words, found in said if words]


def _basis(found: Mapping[str, float]) -> str:
    alone = f"; {found['alone']:g} left out that are alone in theirs" if found["alone"] else ""
    return f"(Held out: {found['compared']:g} compared in {found['kinds']:g} kinds{alone}.)"


def _best_step(run: RecordedRun) -> float | None:
    """Return the step with the lowest held-out total, or None if no total was finite."""
    steps, values = series(run.metrics, "validation", "loss")
    finite = [(value, step) for step, value in zip(steps, values, strict=True) if math.isfinite(value)]
    return min(finite)[1] if finite else None


def _three(points: Points, run: RecordedRun) -> tuple[float, float | None, float]:
    """Return the first value, the value at the step with the lowest held-out total, and the last value."""
    steps, values = points
    best = _best_step(run)
    return values[0], dict(zip(steps, values, strict=True)).get(best) if best is not None else None, values[-1]


def _gap(matched: Points, shuffled: Points, run: RecordedRun) -> tuple[float, float | None, float]:
    one, other = _three(matched, run), _three(shuffled, run)
    middle = one[1] - other[1] if one[1] is not None and other[1] is not None else None
    return one[0] - other[0], middle, one[2] - other[2]


def _examples(run: RecordedRun) -> list[dict[str, object]]:
    before, after = _answers_by_item(run.before), _answers_by_item(run.after)
    scorings = list(dict.fromkeys(scoring for scoring, _ in (*before, *after)))
    return [
        {
            "example": example,
            "answers": [
                (scoring, before.get((scoring, example.id)), after.get((scoring, example.id))) for scoring in scorings
            ],
        }
        for example in run.examples
    ]


def _answers_by_item(evaluation: Evaluation | None) -> dict[tuple[str, str], dict[str, object]]:
    """Return what the page shows of each answer, by scoring and item."""
    return {
        (one.protocol.scoring, answer.id): {
            "letter": answer.predicted,
            "correct": answer.correct,
            "text": _clipped(answer.text) if one.protocol.scoring == "free" else "",
        }
        for one in (evaluation.scored if evaluation else ())
        for answer in one.answers
    }


def _clipped(text: str) -> str:
    flat = text.replace("\n", "↵")
    return flat if len(flat) <= ANSWER_SHOWN else flat[: ANSWER_SHOWN - 1] + "…"


def source_losses(run: RecordedRun) -> dict[str, object]:
    """Return the losses of a mixture by source; empty without a mixture.

    ``svg`` has a panel for each term and kind with a curve for each source. ``rows`` has term, source, and the
    first and last raw value in training and held out, None where not measured.
    """
    sources, panels, rows = names(run.metrics, "sources"), [], []
    terms = dict.fromkeys(term for source in sources for term in names(run.metrics, "sources", source, "terms"))
    for term in terms:
        found = {
            (source, kind): series(run.metrics, kind, "sources", source, "terms", term, "raw")
            for source in sources
            for kind in KINDS
        }
        for kind, word in KINDS.items():
            curves = [
                Curve(
                    source,
                    *found[source, kind],
                    SOURCE_COLOURS[number % len(SOURCE_COLOURS)],
                    marked=kind == "validation",
                )
                for number, source in enumerate(sources)
                if found[source, kind][0]
            ]
            panels += [Panel(f"{term}, {word}", curves)] if curves else []
        for source in sources:
            rows.append((term, source, tuple(end for kind in KINDS for end in _ends(found[source, kind][1]))))
    return {"svg": panels_svg(panels, name="sources") if panels else None, "rows": rows}


def _ends(values: list[float]) -> tuple[float | None, float | None]:
    return (values[0], values[-1]) if values else (None, None)
