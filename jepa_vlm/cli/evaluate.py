"""``jepa-vlm evaluate``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from jepa_vlm.cli.output import Json, columns, quiet_stdout, write, write_json
from jepa_vlm.errors import UnknownNameError

if TYPE_CHECKING:
    from jepa_vlm.adapters import Backbone
    from jepa_vlm.evaluation import Evaluation, McNemar
    from jepa_vlm.trajectories import MultipleChoice


Scoring = Literal["letter-logits", "short", "free"]
SCORINGS: tuple[Scoring, ...] = ("letter-logits", "short", "free")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(evaluate)


def evaluate(
    model: Annotated[str, typer.Argument(help="A run, a checkpoint, a model folder, or a name of `backbones`.")],
    against: Annotated[str | None, typer.Option(help="A second one, compared item by item with the first.")] = None,
    on: Annotated[list[str] | None, typer.Option(help="A benchmark: playground, playground:TASK.")] = None,
    scoring: Annotated[list[str] | None, typer.Option(help=f"{', '.join(SCORINGS)}; may repeat.")] = None,
    questions: Annotated[int, typer.Option(min=1, help="How many.")] = 512,
    seed: Annotated[int, typer.Option(min=0, help="Of the questions.")] = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Questions per forward.")] = 16,
    output: Annotated[Path | None, typer.Option(help="A folder for the answers, item by item.")] = None,
    json: Json = False,
) -> None:
    """Ask held-out questions and print the accuracy with its 95% interval.

    With --against, a second model answers the same questions, and the exact McNemar test says whether they differ.
    """
    scorings = [scoring_named(name) for name in dict.fromkeys(scoring or ["letter-logits"])]
    with quiet_stdout():
        from jepa_vlm.evaluation import compare, load_benchmark

        sets = {spec: load_benchmark(spec, count=questions, seed=seed) for spec in on or ["playground"]}

        def asked(name: str, folder: Path | None) -> dict[str, Evaluation]:
            return ask(name, sets, scorings=scorings, seed=seed, batch_size=batch_size, output=folder)

        first = asked(model, output)
        second = {} if against is None else asked(against, None if output is None else output / "against")
        tests: dict[str, dict[str, McNemar]] = {
            spec: {name: compare(first[spec], second[spec], scoring=name).test for name in scorings} for spec in second
        }
    if json:
        found: dict[str, Any] = {"model": model, "accuracy": {spec: one.summary() for spec, one in first.items()}}
        if against is not None:
            accuracy = {spec: one.summary() for spec, one in second.items()}
            mcnemar = {spec: {name: asdict(test) for name, test in some.items()} for spec, some in tests.items()}
            found["against"] = {"model": against, "accuracy": accuracy, "mcnemar": mcnemar}
        write_json(found)
        return
    write(accuracy_text(first))
    if against is not None:
        write(f"\nAgainst {against}\n\n{accuracy_text(second)}\n\n{comparison_text(tests)}")


def ask(
    name: str,
    sets: Mapping[str, Sequence[MultipleChoice]],
    *,
    scorings: Sequence[Scoring],
    seed: int,
    batch_size: int,
    output: Path | None,
) -> dict[str, Evaluation]:
    """Return one model's evaluation by benchmark, and write each into the output folder if there is one."""
    from jepa_vlm import evaluation

    found, backbone = {}, load(name)
    for spec, items in sets.items():
        found[spec] = evaluation.evaluate(
            backbone, items, scorings=scorings, benchmark=spec, seed=seed, batch_size=batch_size
        )
        if output is not None:
            found[spec].to_json(output / f"{spec.replace(':', '-')}.json")
    return found


def accuracy_text(found: Mapping[str, Evaluation]) -> str:
    """Return accuracies as a table; a benchmark of several tasks gets a line for each."""
    rows = [
        (
            spec,
            scored.protocol.scoring,
            task,
            f"{one.value:.1%}",
            f"[{one.low:.1%}, {one.high:.1%}] n={one.n}",
            f"{scored.parse_failure_rate:.1%}" if task == "all" else "",
        )
        for spec, evaluation in found.items()
        for scored in evaluation.scored
        for task, one in (("all", scored.overall), *(scored.tasks.items() if len(scored.tasks) > 1 else ()))
    ]
    return columns([("BENCHMARK", "SCORING", "TASK", "ACCURACY", "INTERVAL", "UNREADABLE"), *rows])


def comparison_text(tests: Mapping[str, Mapping[str, McNemar]]) -> str:
    """Return what the exact McNemar tests say, as a table."""
    rows = [
        (spec, name, str(test.only_a), str(test.only_b), str(test.n), f"{test.p_value:.3g}")
        for spec, some in tests.items()
        for name, test in some.items()
    ]
    titles = ("BENCHMARK", "SCORING", "ONLY FIRST RIGHT", "ONLY SECOND RIGHT", "OF", "EXACT MCNEMAR P (TWO-SIDED)")
    return columns([titles, *rows])


def scoring_named(name: str) -> Scoring:
    """Return a scoring, or refuse it before a model is loaded."""
    for known in SCORINGS:
        if name == known:
            return known
    raise UnknownNameError("scoring", name, known=SCORINGS)


def load(model: str) -> Backbone:
    """Return the backbone of a run or a checkpoint with its trained weights, or a plain one."""
    from jepa_vlm.adapters import load_backbone
    from jepa_vlm.runs.environment import device, prepare
    from jepa_vlm.training.checkpoint import read_origin
    from jepa_vlm.training.merge import find_checkpoint, is_checkpoint, load_checkpoint

    checkpoint = find_checkpoint(Path(model))
    prepare(0, backbone=read_origin(checkpoint).backbone if is_checkpoint(checkpoint) else model)
    backbone = load_checkpoint(checkpoint) if is_checkpoint(checkpoint) else load_backbone(model)
    backbone.model.to(device())  # type: ignore[arg-type]
    return backbone
