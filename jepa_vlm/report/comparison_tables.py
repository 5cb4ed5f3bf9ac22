"""Tables of a comparison, made from its record; the page, Markdown and LaTeX show the same ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

from jepa_vlm.report.page import NOT_MEASURED, Table, percent, si

Record = Mapping[str, Any]  # a JSON object
ALL = ""
MATCHED = {"steps": "the same optimiser steps", "tokens": "the same tokens", "flops": "the same training FLOPs"}


def comparison_tables(record: Record) -> list[Table]:
    """Return every table for which a record has values."""
    found = headline_tables(record)
    found += [_ablation(record, one) for one in record["ablations"]]
    found += [_cost(record), _inference(record)]
    found += [_tasks(record, column) for column in record["columns"] if column["tasks"]]
    return [*found, _runs(record)]


def headline_tables(record: Record) -> list[Table]:
    """Return the tables of accuracies and, if there is a baseline, of differences to it."""
    return [table for table in (_accuracy(record), _differences(record)) if table is not None]


def column_title(column: Record) -> str:
    """Return a benchmark's name without the path of its files."""
    name, _, rest = str(column["benchmark"]).partition(":")
    return rest if name == "playground" else name


def _arms(record: Record) -> list[str]:
    return [arm["name"] for arm in record["arms"]]


def _accuracy(record: Record) -> Table:
    columns = record["columns"]
    rows, bold = [], set()
    for i, arm in enumerate(_arms(record)):
        cells = [record["accuracy"][column["benchmark"]][ALL][arm] for column in columns]
        rows.append((arm, *map(_share, cells)))
        bold |= {(i, j) for j, one in enumerate(cells, start=1) if one["best"]}
    chance = ", ".join(f"{column_title(column)} {percent(column['chance'])}" for column in columns)
    return Table(
        "Accuracy",
        ("", *(f"{column_title(column)} (n = {column['n']:,})" for column in columns)),
        tuple(rows),
        "Mean ± standard deviation over seeds where there are several, and in brackets Wilson's 95% interval, as wide "
        "as one model's on these items: seeds answer the same ones, so more of them do not narrow it. The best of a "
        f"column is bold. Guessing gets: {chance}. All arms trained with {MATCHED[record['match']]}.",
        frozenset(bold),
    )


def _share(one: Record) -> str:
    spread = "" if one["std"] is None else f" ± {100 * one['std']:.1f}"
    return f"{100 * one['mean']:.1f}{spread} [{100 * one['low']:.1f}, {100 * one['high']:.1f}]"


def _differences(record: Record) -> Table | None:
    rows = []
    for column in record["columns"]:
        for arm, one in record["accuracy"][column["benchmark"]][ALL].items():
            if (found := one["against"]) is None:
                continue
            counts = f"{found['only_first']} / {found['only_second']}" if "only_first" in found else NOT_MEASURED
            rows.append(
                (
                    f"{column_title(column)}: {arm} − {found['baseline']}",
                    _points(found["value"]),
                    _interval(found),
                    _interval(found["items"]),
                    counts,
                    f"{found['test']}, {found['pairs']}",
                    f"{found['p_value']:.2g}",
                    f"{found['p_holm']:.2g}",
                    _known(found["detectable"], lambda least: f"{100 * least:.1f}" if least < 1 else "none"),
                )
            )
    if not rows:
        return None
    return Table(
        "Differences to the baseline, in points",
        (
            "",
            "difference",
            "95% interval",
            "over items alone",
            "only one right",
            "test, pairs",
            "p",
            "p (Holm)",
            "detectable",
        ),
        tuple(rows),
        "Two checkpoints: McNemar's exact test, with the items that the first and the second alone got right, and "
        "Student's interval over the items. Several seeds: Student's t with seeds − 1 degrees of freedom, whose "
        "variance is that over seeds and items, pairs of the same seed; the interval over items alone says what other "
        f"items would give with these very checkpoints, not what other seeds would. Holm: corrected over all "
        f"{record['family']} tests of this table. Detectable: the true difference that such a test would find four "
        "times in five (level 0.05, before the correction); a smaller one that was not found may well be there; none: "
        "not even 100 points.",
    )


def _ablation(record: Record, found: Record) -> Table:
    columns, full = record["columns"], found["full"]
    rows = [(full, "", full), *((one["arm"], ", ".join(one["without"]), one["arm"]) for one in found["rows"])]
    cells = [[record["accuracy"][column["benchmark"]][ALL][arm] for column in columns] for _, _, arm in rows]
    best = [max(row[j]["mean"] for row in cells) for j in range(len(columns))]
    return Table(
        f"Ablation of {full}",
        ("", "without", *map(column_title, columns)),
        tuple(
            (name, without or NOT_MEASURED, *map(_share, row))
            for (name, without, _), row in zip(rows, cells, strict=True)
        ),
        "Arms that differ in nothing but the terms that they leave out.",
        frozenset(
            (i, j) for i, row in enumerate(cells) for j, one in enumerate(row, start=2) if one["mean"] == best[j - 2]
        ),
    )


def _cost(record: Record) -> Table:
    rows = []
    reference = next((one for one in record["cost"].values() if one.get("flops")), None)
    for arm, one in record["cost"].items():
        if "steps" not in one:
            continue
        flops = one["flops"]
        rows.append(
            (
                arm,
                f"{one['steps']:,}",
                f"{one['trajectories']:,}",
                _known(one["tokens"], lambda value: f"{value:,}"),
                _known(flops, lambda value: si(value, "FLOP")),
                _known(flops and reference and flops / reference["flops"], lambda value: f"{value:.2f}"),
                _known(one["seconds"] and fmean(one["seconds"]), lambda value: f"{value:,.0f}"),
                _known(one["peak_memory"], lambda value: si(value, "B")),
                _known(one["step_memory"], lambda value: si(value, "B")),
                f"{one['trained']:,}",
            )
        )
    watched = {one.get("memory") for one in record["cost"].values()} - {None}
    where = "; ".join(machine_text(machine) for machine in record["machines"]) or "not recorded"
    return Table(
        "Cost of training, of one run",
        ("", "steps", "trajectories", "tokens", "FLOPs", "/ first", "seconds", "peak memory", "of a step", "trained"),
        tuple(rows),
        f"Matched by {record['match']}. Tokens: those that the decoder computes, of all views. FLOPs: forward and "
        "backward, counted on the first micro-batches and multiplied. Seconds: wall time of training with its "
        f"validations, mean over seeds, measured on: {where}; {record['jobs']} at a time. Peak memory: the most that "
        f"the {' or the '.join(sorted(watched)) or 'process'} held; of a step: counted bytes of the largest "
        "micro-batch's own tensors, the same on every machine. Trained: parameters.",
    )


def _inference(record: Record) -> Table:
    rows = [
        (
            arm,
            ", ".join(one["inference"]["scoring"]),
            f"{one['inference']['tokens']:.1f}",
            _known(one["inference"]["seconds"], lambda value: si(value, "s")),
        )
        for arm, one in record["cost"].items()
    ]
    where = "; ".join(machine_text(machine) for machine in record["machines"]) or "not recorded"
    return Table(
        "Cost of an answer",
        ("", "how it answers", "tokens generated", "time"),
        tuple(rows),
        "Means over all items and seeds. letter-logits generates nothing: one forward, whose likeliest option letter "
        f"is the answer. Time is wall time in batches, loading left out, measured on: {where}; "
        f"{record['jobs']} at a time.",
    )


def _tasks(record: Record, column: Record) -> Table:
    benchmark = column["benchmark"]
    rows, bold = [], set()
    for i, arm in enumerate(_arms(record)):
        cells = [record["accuracy"][benchmark][task][arm] for task in column["tasks"]]
        rows.append((arm, *map(_share, cells)))
        bold |= {(i, j) for j, one in enumerate(cells, start=1) if one["best"]}
    head = ("", *(f"{task} (n = {n:,})" for task, n in column["tasks"].items()))
    return Table(f"By task: {column_title(column)}", head, tuple(rows), "", frozenset(bold))


def _runs(record: Record) -> Table:
    rows = []
    for run in record["runs"]:
        for column in record["columns"]:
            benchmark = column["benchmark"]
            one, test = run["accuracy"][benchmark][ALL], run["against"].get(benchmark)
            against = f"{test['only_first']} / {test['only_second']}" if test else NOT_MEASURED
            rows.append(
                (
                    run["arm"] if run["seed"] is None else f"{run['arm']}, seed {run['seed']}",
                    column_title(column),
                    f"{100 * one['value']:.1f} [{100 * one['low']:.1f}, {100 * one['high']:.1f}]",
                    f"{one['correct']:,} of {one['n']:,}",
                    against,
                    f"{test['p_value']:.2g}" if test else NOT_MEASURED,
                    str(run["best_step"]) if "best_step" in run else NOT_MEASURED,
                )
            )
    return Table(
        "Every checkpoint",
        ("", "benchmark", "accuracy [95%]", "right", "only one right", "p", "best step"),
        tuple(rows),
        "Wilson's intervals; McNemar's exact test against the baseline's checkpoint of the same seed, not corrected. "
        "The checkpoint with the least held-out loss answers.",
    )


def machine_text(machine: Record) -> str:
    """Return the name of a machine."""
    name = machine.get("gpu") or f"{machine['cpu']}, {machine['threads']} thread{'s' if machine['threads'] > 1 else ''}"
    return str(name)


def _known(value: float | None, said: Callable[..., str]) -> str:
    return NOT_MEASURED if value is None else said(value)


def _points(value: float) -> str:
    return f"{100 * value:+.1f}"


def _interval(found: Record) -> str:
    if found["low"] is None:
        return NOT_MEASURED
    return f"[{_points(found['low'])}, {_points(found['high'])}]"


def rows_of_csv(record: Record) -> list[Sequence[object]]:
    """Return the titles, then one row for each checkpoint, benchmark and task ("" for all), numbers unformatted."""
    titles = (
        "arm", "seed", "benchmark", "task", "n", "correct", "accuracy", "low", "high", "chance", "recipe", "data",
        "steps", "tokens", "flops", "seconds",
    )  # fmt: skip
    arms = {arm["name"]: arm for arm in record["arms"]}
    rows: list[Sequence[object]] = [titles]
    for run in record["runs"]:
        arm, cost = arms[run["arm"]], record["cost"][run["arm"]]
        made = (arm.get("recipe"), arm.get("data"), cost.get("steps"), cost.get("tokens"), cost.get("flops"))
        for benchmark, tasks in run["accuracy"].items():
            for task, one in tasks.items():
                counts = (one["n"], one["correct"], one["value"], one["low"], one["high"], one["chance"])
                rows.append((run["arm"], run["seed"], benchmark, task, *counts, *made, run.get("seconds")))
    return rows
