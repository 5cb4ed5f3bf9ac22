"""The report of a run: one HTML file made of what is in its folder. What is not there is shown as not measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jepa_vlm.errors import JepaVLMError
from jepa_vlm.evaluation import Evaluation, compare
from jepa_vlm.report.figures import BLUE, GREY, ORANGE, Curve, Panel, accuracy_svg, panels_svg
from jepa_vlm.report.page import write_page
from jepa_vlm.report.run_folder import RunFolder, names, read_run_folder, series

HEADLINE = ("recipe", "backbone", "data", "seed", "steps")
ANSWER_SHOWN = 160  # characters of a generated answer


def write_run_report(folder: Path) -> Path:
    """Write ``report.html`` into a run folder and return its path.

    Args:
        folder: With any of config.json, metrics.jsonl, evaluation_before.json, evaluation.json, examples.json.

    Raises:
        RunError: If the folder does not exist or its configuration is broken.
        DataError: If another of its files is broken.
        JepaVLMError: If jinja2 or matplotlib is not installed.
    """
    run = read_run_folder(Path(folder))
    path = run.path / "report.html"
    write_page("run.html", path, _values(run))
    return path


def _values(run: RunFolder) -> dict[str, Any]:
    evaluation = run.after or run.before
    versions = dict(evaluation.versions) if evaluation else {}
    versions.update({s.name.partition(".")[2]: str(s.value) for s in run.settings if s.name.startswith("versions.")})
    commit = run.setting("commit") or (evaluation.commit if evaluation else None)
    return {
        "title": f"{run.setting('recipe') or 'Run'} on {run.setting('backbone') or 'an unnamed backbone'}",
        "facts": [(name, run.setting(name)) for name in HEADLINE],
        "versions": versions,
        "commit": commit,
        "accuracy_rows": _accuracy(run.before, run.after),
        "protocols": [one.protocol for one in evaluation.scored] if evaluation else [],
        "benchmark": evaluation.benchmark if evaluation else None,
        "losses": _losses(run),
        "monitors": _monitors(run),
        "examples": _examples(run),
        "settings": [setting for setting in run.settings if not setting.name.startswith("versions.")],
        "command": run.setting("command"),
    }


def _accuracy(before: Evaluation | None, after: Evaluation | None) -> list[dict[str, Any]]:
    present = [evaluation for evaluation in (before, after) if evaluation is not None]
    scorings = dict.fromkeys(scoring for evaluation in present for scoring in evaluation.scorings)
    return [_scoring(scoring, before, after) for scoring in scorings]


def _scoring(scoring: str, before: Evaluation | None, after: Evaluation | None) -> dict[str, Any]:
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


def _losses(run: RunFolder) -> dict[str, Any]:
    panels, rows = [], []
    for term in ("", *names(run.metrics, "terms")):
        keys = ("terms", term, "raw") if term else ("loss",)
        train, held_out = series(run.metrics, "train", *keys), series(run.metrics, "validation", *keys)
        curves = []
        if train[0]:
            curves.append(Curve("train", *train, GREY))
        if held_out[0]:
            curves.append(Curve("held-out", *held_out, BLUE, marked=True))
            rows.append((term or "total (weighted sum)", held_out[1][0], held_out[1][-1]))
        if curves:
            panels.append(Panel(term or "total (weighted sum)", curves))
    return {"svg": panels_svg(panels, name="losses") if panels else None, "rows": rows}


def _monitors(run: RunFolder) -> dict[str, Any]:
    panels, rows = [], []
    for term in names(run.metrics, "monitors"):
        found = {
            name: series(run.metrics, "validation", "monitors", term, name)
            for name in names(run.metrics, "monitors", term)
        }
        measured = {name: points for name, points in found.items() if points[0]}
        cosines = {name: points for name, points in measured.items() if name.endswith("cosine")}
        if cosines:
            colours = (BLUE, ORANGE, GREY)
            labels = [name.removesuffix("_cosine").replace("_", " ") for name in cosines]
            curves = [
                Curve(label, *points, colours[place % 3], marked=True)
                for place, (label, points) in enumerate(zip(labels, cosines.values(), strict=True))
            ]
            panels.append(Panel(f"{term}: cosine", curves))
        rows += _gap(term, cosines)
        for name, points in measured.items():
            rows.append((term, name.replace("_", " "), points[1][0], points[1][-1]))
            if name not in cosines:
                title = f"{term}: {name.replace('_', ' ')}"
                panels.append(Panel(title, [Curve("held-out", *points, BLUE, marked=True)]))
    return {"svg": panels_svg(panels, name="monitors") if panels else None, "rows": rows}


def _gap(term: str, cosines: Mapping[str, tuple[list[float], list[float]]]) -> list[tuple[str, str, float, float]]:
    if not {"matched_cosine", "shuffled_cosine"} <= cosines.keys():
        return []
    matched, shuffled = cosines["matched_cosine"][1], cosines["shuffled_cosine"][1]
    return [(term, "matched − shuffled cosine", matched[0] - shuffled[0], matched[-1] - shuffled[-1])]


def _examples(run: RunFolder) -> list[dict[str, Any]]:
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


def _answers_by_item(evaluation: Evaluation | None) -> dict[tuple[str, str], dict[str, Any]]:
    """Return what is shown of each answer, by scoring and item."""
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
