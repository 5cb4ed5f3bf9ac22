"""``jepa-vlm recipe``: one run from start to end."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from jepa_vlm.cli.output import Json, quiet_stdout, write, write_json
from jepa_vlm.cli.recipes import parameters_text
from jepa_vlm.cli.summary import plan_text, result_text
from jepa_vlm.errors import JepaVLMError, RecipeError
from jepa_vlm.recipe.files import check_parameters, describe_recipe


class RecipeCommand(TyperCommand):
    """``recipe NAME --help`` ends with that recipe's own parameters, read from its file without running it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Remember which recipe is meant before ``--help`` ends the parsing."""
        ctx.meta["recipe"] = next((word for word in args if not word.startswith("-")), None)
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Add the recipe's parameters."""
        super().format_help(ctx, formatter)
        if ctx.meta.get("recipe"):
            try:
                write(parameters_text(describe_recipe(ctx.meta["recipe"])))
            except JepaVLMError as err:
                write(str(err))


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(cls=RecipeCommand)(recipe)


def recipe(
    name: Annotated[str, typer.Argument(help="A shipped recipe, or a path to a .py file.")],
    backbone: Annotated[str | None, typer.Option(help="A name of `backbones`, a folder, or a hub id.")] = None,
    data: Annotated[
        str | None, typer.Option(help="playground:TASK, FORMAT:PATH, a path, or a mixture of them.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="A new folder for the run.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Parameter of the recipe, KEY=VALUE.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Trajectories per micro-batch and device.")] = None,
    batch_tokens: Annotated[
        int | None, typer.Option(min=1, help="Most tokens per micro-batch and device, in place of --batch-size.")
    ] = None,
    accumulation: Annotated[int | None, typer.Option(min=1, help="Micro-batches per step.")] = None,
    lr: Annotated[float | None, typer.Option(min=0, help="Peak learning rate.")] = None,
    train: Annotated[
        list[str] | None, typer.Option(help="PART=FACTOR: language, projector or vision trains at FACTOR x --lr.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Random seed of weights, data order and questions.")] = None,
    dtype: Annotated[
        Literal["float32", "bfloat16"] | None,
        typer.Option(help="Type in which the backbone computes. What trains is stored in float32 in any case."),
    ] = None,
    visual_tokens: Annotated[int | None, typer.Option(min=1, help="Most tokens an image may take.")] = None,
    quantize: Annotated[bool, typer.Option("--quantize", help="Load the base in 4 bits (QLoRA).")] = False,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Most tokens a trajectory may have.")] = None,
    too_long: Annotated[
        Literal["error", "drop", "shrink"] | None,
        typer.Option(help="Over-length policy: stop, leave longer trajectories out, or shrink their images."),
    ] = None,
    questions: Annotated[
        int | None, typer.Option(min=0, help="Number of held-out questions, asked before and after training.")
    ] = None,
    validate_every: Annotated[int | None, typer.Option(min=1, help="Steps between validations.")] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes that load data.")] = None,
    engine: Annotated[Literal["one_pass", "separate"] | None, typer.Option(help="How views are encoded.")] = None,
    report_to: Annotated[list[str] | None, typer.Option(help="A tracker, such as tensorboard or wandb.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --output.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the resolved run and stop.")] = False,
    json: Json = False,
) -> None:
    """Train with a recipe, evaluate before and after, export, report. Without options: the embedded default."""
    parameters = _parameters(set_ or [])
    check_parameters(describe_recipe(name), parameters)  # a misspelt name is refused before torch is loaded
    with quiet_stdout():
        from jepa_vlm.runs import Asked, plan_run, start_run

        asked = Asked(
            recipe=name,
            parameters=parameters,
            backbone=backbone,
            data=data,
            output=output,
            resume=resume,
            steps=steps,
            batch_size=batch_size,
            batch_tokens=batch_tokens,
            accumulation=accumulation,
            learning_rate=lr,
            engine=engine,
            rates=_rates(train) if train else None,
            seed=seed,
            dtype=dtype,
            visual_tokens=visual_tokens,
            quantize=quantize,
            workers=workers,
            report_to=tuple(report_to) if report_to else None,
            max_tokens=max_tokens,
            too_long=too_long,
            questions=questions,
            validate_every=validate_every,
            command=_command(),
        )
        plan = plan_run(asked) if dry_run else None
        result = start_run(asked) if plan is None else None
    if plan is not None:
        write_json(plan.config()) if json else write(plan_text(plan))
    elif result is not None and _first_process():
        write(result.to_json()) if json else write(result_text(result))


def _first_process() -> bool:
    from jepa_vlm.runs.environment import rank

    return rank() == 0


def _command() -> tuple[str, ...]:
    """Return the command line that began this run; under torchrun, torchrun's."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    begin = ("jepa-vlm",) if here == 1 else ("torchrun", "--nproc_per_node", str(here), "-m", "jepa_vlm.cli")
    return (*begin, *sys.argv[1:])


def _rates(pairs: list[str]) -> dict[str, float]:
    found = {}
    for pair in pairs:
        name, _, factor = pair.partition("=")
        try:
            found[name] = float(factor)
        except ValueError:
            raise RecipeError(f"--train takes PART=FACTOR, got {pair!r}; for example --train projector=0.5.") from None
    return found


def _parameters(pairs: list[str]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise RecipeError(f"--set takes KEY=VALUE, got {pair!r}; for example --set tokens=8.")
        found[name] = value
    return found
