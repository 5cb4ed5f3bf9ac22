"""The commands of the command line, and how an error becomes a message and an exit code."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from jepa_vlm.cli import backbones, compare_command, data_commands, evaluate, export, objectives, recipe_command
from jepa_vlm.errors import InterruptedRunError, JepaVLMError, RecipeError, UnknownNameError
from jepa_vlm.plugins import COMMANDS, plugins

FAILED, USAGE, INTERRUPTED = 1, 2, 130


class Commands(TyperGroup):
    """The package's commands and those of entry points; an error becomes one message and an exit code.

    ``--debug`` may stand anywhere and also shows the traceback.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the package's commands, then those of entry points."""
        own = super().list_commands(ctx)
        return [*own, *(name for name in plugins(COMMANDS) if name not in own)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command. An entry point is loaded only when its command is named or listed."""
        own = super().get_command(ctx, cmd_name)
        if own is not None or cmd_name not in (added := plugins(COMMANDS)):
            return own
        command = typer.main.get_command(added[cmd_name].load())
        command.name = cmd_name
        return command

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Let ``--debug`` stand behind the command as well."""
        if "--debug" in args:
            args = ["--debug", *(word for word in args if word != "--debug")]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # the reader of the output has left, as ``head`` does: typer ends in silence
            raise
        except (JepaVLMError, OSError, KeyboardInterrupt) as err:
            if ctx.params.get("debug"):
                traceback.print_exc()
            message, code = _read(err)
            sys.stderr.write(f"{message}\n")
            raise typer.Exit(code) from None


def _read(err: BaseException) -> tuple[str, int]:
    if isinstance(err, InterruptedRunError):
        return str(err), INTERRUPTED
    if isinstance(err, KeyboardInterrupt):
        return "Stopped. A run whose training has begun goes on with its --output and --resume.", INTERRUPTED
    if isinstance(err, OSError):
        return f"Error: {err}. Check the path, the right to write there, and the free space.", FAILED
    return f"Error: {err}", USAGE if isinstance(err, (UnknownNameError, RecipeError)) else FAILED


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Fine-tune vision-language models with composable latent objectives.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Fine-tune vision-language models with composable latent objectives."""


for module in (recipe_command, compare_command, objectives, evaluate, export):
    module.register(app)
app.add_typer(backbones.app, name="backbones")
app.add_typer(data_commands.app, name="data")
