"""What a trained model can do, measured on held-out pictures, and the model card that says so."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from benchmarks.pretrain_tiny.batches import Encoder
from benchmarks.pretrain_tiny.curriculum import ROUND, STAGES
from benchmarks.pretrain_tiny.forward import Forward, accuracy, held_out
from benchmarks.pretrain_tiny.lessons import EASY, FULL, TEACHERS, lessons
from benchmarks.pretrain_tiny.train import LOG
from jepa_vlm import load_backbone, playground
from jepa_vlm.evaluation import commit, evaluate, versions
from jepa_vlm.evaluation.statistics import wilson_interval

MODEL = "model"  # in a training's folder
FOLLOWED = ("color", "shape", "count", "column", "relative", "tallest", "height", "open", "exit", "piece")
QUESTIONS = 1000  # of each task
TIMES = 8  # as many lessons as during training
TASKS = ("visual-search", "relative-position", "sequential-crops", "chart-reading", "jigsaw", "maze")

Row = dict[str, Any]
Measured = Mapping[str, Any]


def measure(trained: Mapping[int, Path], shipped: int, settings: Mapping[str, Any]) -> Measured:
    """Return everything that the card says, as JSON values.

    Args:
        trained: For each seed the folder of its training, with the model in ``MODEL``.
        shipped: A seed.
        settings: Of the trainings.
    """
    logs = {
        seed: [json.loads(line) for line in (folder / LOG).read_text().splitlines()] for seed, folder in trained.items()
    }
    return {
        "settings": dict(settings),
        "seed": shipped,
        "commit": commit(),
        "versions": versions(),
        "parameters": sum(p.numel() for p in load_backbone(str(trained[shipped] / MODEL)).model.parameters()),
        "kinds": {str(seed): _kinds(folder / MODEL) for seed, folder in trained.items()},
        "tasks": {str(seed): _tasks(folder / MODEL) for seed, folder in trained.items()},
        "logs": {str(seed): log for seed, log in logs.items()},
    }


def mean_share(log_row: Mapping[str, Any]) -> float:
    """Return the share right during training, every kind and form alike: what seeds are compared by."""
    shares = log_row["accuracy"].values()
    return float(sum(shares) / len(shares))


def _kinds(folder: Path) -> list[Row]:
    backbone = load_backbone(str(folder))
    encoder, chance = Encoder(backbone.processor), _chance()
    batches = held_out(encoder, split="test", times=TIMES, seed=1)
    right = accuracy(Forward(model=backbone.base, encoder=encoder), batches)
    return [
        {"kind": kind, "form": form, **_share(sum(flags), len(flags)), "chance": chance.get((kind, form))}
        for (kind, form), flags in right.items()
    ]


def _tasks(folder: Path) -> list[Row]:
    backbone, rows = load_backbone(str(folder)), []
    for task in TASKS:
        items = playground.questions(task, count=QUESTIONS, split="test", seed=1)
        overall = evaluate(backbone, items, benchmark=f"playground:{task}", seed=1).scored[0].overall
        rows.append({"task": task, **_share(round(overall.value * overall.n), overall.n), "chance": overall.chance})
    return rows


def _share(successes: int, n: int) -> Row:
    low, high = wilson_interval(successes, n)
    return {"accuracy": successes / n, "low": low, "high": high, "n": n}


def _chance() -> dict[tuple[str, str], float]:
    """Return the share that a blind guess gets: one of the values that a kind has, or one of the options."""
    values: dict[str, set[str]] = {}
    options: dict[str, int] = {}
    for teacher in TEACHERS:
        for lesson, _ in lessons(teacher, count=400):
            for turn in lesson.turns:
                if turn.options:
                    values.setdefault(turn.kind, set()).add(turn.answer)
                    options[turn.kind] = len(turn.options)
    listed = {(kind, form): 1 / count for kind, count in options.items() for form in ("choice", "letter")}
    return listed | {(kind, "word"): 1 / len(said) for kind, said in values.items()}


def card(found: Measured, command: str) -> str:
    """Return the model card, in Markdown.

    Args:
        found: From ``measure``.
        command: That made the model.
    """
    shipped = str(found["seed"])
    log, tasks, settings = found["logs"][shipped], found["tasks"][shipped], found["settings"]
    filled = {
        "parameters": f"{found['parameters'] / 1e6:.2f}",
        "full_objects": _range(FULL.objects),
        "full_size": _range(FULL.size),
        "easy_objects": _range(EASY.objects),
        "kinds": _table(found["kinds"][shipped]),
        "questions": tasks[0]["n"],
        "tasks": _by_seed(found),
        "seed": shipped,
        "chosen": _chosen(found),
        "command": command,
        "steps": settings["steps"],
        "hardware": settings["hardware"],
        "dtype": log[-1]["dtype"],
        "minutes": f"{log[-1]['minutes']:.0f}",
        "stages": _stages(settings["steps"]),
        "first_loss": f"{log[0]['loss']:.2f}",
        "first_steps": log[0]["step"],
        "last_loss": f"{log[-1]['loss']:.2f}",
        "curve": _curve(log),
        "spread": _spread(found),
        "commit": found["commit"],
        "versions": ", ".join(f"{name} {version}" for name, version in found["versions"].items()),
    }
    template = Path(__file__).with_name("card.md.jinja").read_text(encoding="utf-8")
    return str(jinja2.Template(template, undefined=jinja2.StrictUndefined, keep_trailing_newline=True).render(filled))


def _chosen(found: Measured) -> str:
    """Say why this seed is the shipped one."""
    shares = {seed: mean_share(log[-1]) for seed, log in found["logs"].items()}
    own, best = shares[str(found["seed"])], max(shares, key=lambda seed: shares[seed])
    if len(shares) == 1:
        return "the only one that was trained"
    if own == shares[best]:
        return "the best of them on the validation split"
    ahead = f"{100 * (shares[best] - own):.1f} points"
    return f"as asked for; on the validation split seed {best} is ahead by {ahead}, over all kinds and forms"


def _by_seed(found: Measured) -> str:
    seeds = list(found["tasks"])
    rows = [
        [task, *(_interval(next(row for row in found["tasks"][seed] if row["task"] == task)) for seed in seeds)]
        for task in TASKS
    ]
    return _lines(["task", *(f"seed {seed}" for seed in seeds)], rows)


def _spread(found: Measured) -> str:
    """Say how far seeds lie apart."""
    kinds = found["kinds"]
    means = {seed: sum(row["accuracy"] for row in rows) / len(rows) for seed, rows in kinds.items()}
    listed = ", ".join(
        f"{mean:.1%} (seed {seed}, in {found['logs'][seed][-1]['dtype']})" for seed, mean in means.items()
    )
    text = f"Mean over all kinds and forms on the test split: {listed}."
    if len(kinds) == 1:
        return f"{text} The spread over seeds was not measured."
    kind, points = _widest(kinds, lambda row: f"{row['kind']} by {row['form']}")
    task, more = _widest(found["tasks"], lambda row: str(row["task"]))
    return f"{text} Seeds lie farthest apart for {kind}: {points:.0f} points, and of the tasks for {task}: {more:.0f}."


def _widest(by_seed: Mapping[str, Sequence[Row]], name: Callable[[Row], str]) -> tuple[str, float]:
    """Return the row for which seeds differ the most, and by how many points."""
    apart = {
        name(rows[0]): max(r["accuracy"] for r in rows) - min(r["accuracy"] for r in rows)
        for rows in zip(*by_seed.values(), strict=True)
    }
    widest = max(apart, key=lambda row: apart[row])
    return widest, 100 * apart[widest]


def _table(rows: Sequence[Row]) -> str:
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    by_name = {(row["kind"], row["form"]): row for row in rows}
    lines = []
    for kind in kinds:
        cells = [kind]
        for form in ("word", "choice", "letter"):
            row = by_name.get((kind, form))
            if row is None:
                cells.append("")
                continue
            chance = f", chance {row['chance']:.0%}" if row["chance"] is not None else ""
            cells.append(f"{_interval(row)}, n={row['n']}{chance}")
        lines.append(cells)
    return _lines(["asks for", "word", "choice", "letter"], lines)


def _stages(steps: int) -> str:
    rows = []
    for stage in STAGES:
        asides = [_listed(pictures) for pictures in stage.asides.values()]
        asked = sum(count * TEACHERS[teacher].turns_per_lesson for teacher, count in stage.pictures.items())
        rows.append(
            [
                str(math.ceil(stage.start * steps)),
                _listed(stage.pictures),
                str(asked),
                " to ".join(f"{share:.0%}" for share in dict.fromkeys(stage.letters)),
                "; ".join(f"{asides.count(said)} in {ROUND}: {said}" for said in dict.fromkeys(asides)),
            ]
        )
    return _lines(["from step", "pictures", "questions", "by letter", "steps with other pictures"], rows)


def _listed(pictures: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {teacher}" for teacher, count in pictures.items())


def _curve(log: Sequence[Mapping[str, Any]]) -> str:
    every = max(1, len(log) // 12)
    rows = []
    for row in log[every - 1 :: every]:
        shares = row["accuracy"]
        rows.append([str(row["step"]), *(f"{shares[f'{k}/word']:.2f} / {shares[f'{k}/letter']:.2f}" for k in FOLLOWED)])
    return _lines(["step", *FOLLOWED], rows)


def _interval(row: Row) -> str:
    return f"{row['accuracy']:.1%} [{row['low']:.1%}, {row['high']:.1%}]"


def _range(pair: tuple[int, int]) -> str:
    return f"{pair[0]} to {pair[1]}"


def _lines(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
