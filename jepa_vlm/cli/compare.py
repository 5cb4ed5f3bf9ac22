"""``jepa-vlm compare``: several recipes over several seeds, one table."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from jepa_vlm.cli.evaluate import SCORINGS, scoring_named
from jepa_vlm.cli.output import Json, columns, quiet_stdout, write, write_json

if TYPE_CHECKING:
    from jepa_vlm.runs import ComparisonResult


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(compare)


def compare(
    entry: Annotated[
        list[str],
        typer.Argument(
            help="RECIPE, RECIPE:KEY=VALUE,..., RECIPE@DATA, or the folder of a finished run; NAME= before it names it."
        ),
    ],
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds that each recipe trains with.")] = 3,
    match: Annotated[
        Literal["steps", "tokens", "flops"], typer.Option(help="Budget that all entries share in training.")
    ] = "steps",
    baseline: Annotated[
        str | None, typer.Option(help="Entry that the others are compared with; the first if not given, or untrained.")
    ] = None,
    backbone: Annotated[str | None, typer.Option(help="A name of `backbones`, a folder, or a hub id.")] = None,
    data: Annotated[
        list[str] | None, typer.Option(help="As for `recipe`; repeated, every entry trains on each of them.")
    ] = None,
    on: Annotated[
        list[str] | None,
        typer.Option(help="Benchmarks, as for `evaluate`; default the playground's three regimes of tool use."),
    ] = None,
    protocol: Annotated[str | None, typer.Option(help="Protocol of vstar, mmvp and blink, as for `evaluate`.")] = None,
    scoring: Annotated[
        str | None, typer.Option(help=f"{', '.join(SCORINGS)}; default: each answers as its recipe does.")
    ] = None,
    questions: Annotated[
        int | None, typer.Option(min=1, help="Number of questions; 512 of the playground, else all.")
    ] = None,
    question_seed: Annotated[int, typer.Option(min=0, help="Random seed of the questions.")] = 0,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Optimiser steps; those of the baseline, when others match it.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Trajectories per micro-batch.")] = None,
    accumulation: Annotated[int | None, typer.Option(min=1, help="Micro-batches per step.")] = None,
    lr: Annotated[float | None, typer.Option(min=0, help="Peak learning rate.")] = None,
    dtype: Annotated[
        Literal["float32", "bfloat16"] | None,
        typer.Option(help="Type in which the backbone computes. What trains is stored in float32 in any case."),
    ] = None,
    visual_tokens: Annotated[int | None, typer.Option(min=1, help="Most tokens an image may take.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Most tokens a trajectory may have.")] = None,
    too_long: Annotated[
        Literal["error", "drop", "shrink"] | None,
        typer.Option(help="Over-length policy: stop, leave longer trajectories out, or shrink their images."),
    ] = None,
    validate_every: Annotated[int | None, typer.Option(min=1, help="Steps between validations.")] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes that load data.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Runs at once; tiny models take a core each.")] = None,
    output: Annotated[
        Path, typer.Option(help="Folder of the comparison; results that are already there are used again.")
    ] = Path("runs/compare"),
    json: Json = False,
) -> None:
    """Train several recipes over several seeds, ask all of them the same questions, and write one table.

    Called again, with more seeds or more entries, it does only what is missing.
    """
    if scoring is not None:
        scoring_named(scoring)
    with quiet_stdout():
        from jepa_vlm.cli.evaluate import benchmarks_named
        from jepa_vlm.runs import CompareAsked, start_comparison

        asked = CompareAsked(
            entries=tuple(entry),
            seeds=seeds,
            match=match,
            baseline=baseline,
            backbone=backbone,
            data=tuple(data or ()),
            on=tuple(benchmarks_named(on)) if on else (),
            protocol=protocol,
            scoring=scoring,
            questions=questions,
            question_seed=question_seed,
            output=output,
            jobs=jobs,
            training={
                "steps": steps,
                "batch_size": batch_size,
                "accumulation": accumulation,
                "learning_rate": lr,
                "dtype": dtype,
                "visual_tokens": visual_tokens,
                "max_tokens": max_tokens,
                "too_long": too_long,
                "validate_every": validate_every,
                "workers": workers,
            },
            command=("jepa-vlm", *sys.argv[1:]),
        )
        result = start_comparison(asked)
    if json:
        write_json({"folder": str(result.folder), "files": [str(path) for path in result.files], **result.record})
    else:
        write(result_text(result))


def result_text(result: ComparisonResult) -> str:
    """Return accuracies and differences as text, and where the rest is."""
    from jepa_vlm.report.comparison_tables import headline_tables

    shown = [columns([table.head, *table.rows]) for table in headline_tables(result.record)]
    return "\n\n".join([*shown, "\n".join(str(path) for path in result.files)])
