"""``jepa-vlm evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from jepa_vlm.cli.output import Json, columns, quiet_stdout, write, write_json
from jepa_vlm.errors import UnknownNameError

if TYPE_CHECKING:
    from jepa_vlm.adapters import Backbone


Scoring = Literal["letter-logits", "short", "free"]
SCORINGS: tuple[Scoring, ...] = ("letter-logits", "short", "free")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(evaluate)


def evaluate(
    model: Annotated[str, typer.Argument(help="A run, a checkpoint, a model folder, or a name of `backbones`.")],
    on: Annotated[list[str] | None, typer.Option(help="A benchmark: playground, playground:TASK.")] = None,
    scoring: Annotated[list[str] | None, typer.Option(help=f"{', '.join(SCORINGS)}; may repeat.")] = None,
    questions: Annotated[int, typer.Option(min=1, help="How many.")] = 256,
    seed: Annotated[int, typer.Option(min=0, help="Of the questions.")] = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Questions per forward.")] = 16,
    output: Annotated[Path | None, typer.Option(help="A folder for the answers, item by item.")] = None,
    json: Json = False,
) -> None:
    """Ask held-out questions and print the accuracy with its 95% interval."""
    scorings = [scoring_named(name) for name in scoring or ["letter-logits"]]
    found = {}
    with quiet_stdout():
        from jepa_vlm.evaluation import evaluate as ask
        from jepa_vlm.evaluation import load_benchmark

        sets = {spec: load_benchmark(spec, count=questions, seed=seed) for spec in on or ["playground"]}
        backbone = load(model)
        for spec, items in sets.items():
            found[spec] = ask(
                backbone,
                items,
                scorings=scorings,
                benchmark=spec,
                seed=seed,
                batch_size=batch_size,
            )
            if output is not None:
                found[spec].to_json(output / f"{spec.replace(':', '-')}.json")
    if json:
        write_json({"model": model, "accuracy": {spec: one.summary() for spec, one in found.items()}})
        return
    rows = [
        (spec, scored.protocol.scoring, task, f"{one.value:.1%}", f"[{one.low:.1%}, {one.high:.1%}] n={one.n}")
        for spec, evaluation in found.items()
        for scored in evaluation.scored
        for task, one in (("all", scored.overall), *scored.tasks.items())
    ]
    write(columns([("BENCHMARK", "SCORING", "TASK", "ACCURACY", "INTERVAL"), *rows]))


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
