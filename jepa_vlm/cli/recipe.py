"""``jepa-vlm recipe``: one run from start to end."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from jepa_vlm.cli.options import takes_options
from jepa_vlm.cli.output import Json, quiet_stdout, write, write_json
from jepa_vlm.cli.recipes import parameters_text
from jepa_vlm.cli.summary import plan_text, result_text
from jepa_vlm.errors import JepaVLMError
from jepa_vlm.recipe.files import check_parameters, describe_recipe
from jepa_vlm.runs.settings import RunSettings


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


@takes_options("settings", RunSettings)
def recipe(
    name: Annotated[str, typer.Argument(help="A shipped recipe, or a path to a .py file.")],
    settings: dict[str, Any],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the resolved run and stop.")] = False,
    json: Json = False,
) -> None:
    """Train with a recipe, evaluate before and after, export, report. Without options: the embedded default."""
    given = RunSettings(**settings, command=_command())
    check_parameters(describe_recipe(name), given.parameters or {})  # a misspelt one is refused before torch is loaded
    with quiet_stdout():
        from jepa_vlm.runs import plan_run, start_run

        plan = plan_run(name, given) if dry_run else None
        result = start_run(name, given) if plan is None else None
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
