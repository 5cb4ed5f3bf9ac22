"""``jepa-vlm export``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jepa_vlm.cli.output import Json, quiet_stdout, write, write_json

if TYPE_CHECKING:
    from jepa_vlm.elsewhere import Run
    from jepa_vlm.training import Exported


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(export)


def export(
    run: Annotated[
        Path, typer.Argument(help="A run, one of its checkpoints, or, with --for alone, an exported folder.")
    ],
    to: Annotated[Path | None, typer.Option(help="A new folder.")] = None,
    for_: Annotated[
        list[str] | None,
        typer.Option("--for", help="Write how to run the folder there: lmms-eval, vlmevalkit or vllm; may repeat."),
    ] = None,
    json: Json = False,
) -> None:
    """Merge a run's adapter into its base and check the folder with stock transformers before it appears.

    With --for, the folder also gets the exact command that runs it in another program, and what that command reads.
    """
    programs = for_ or []
    if to is None and not programs:
        raise typer.BadParameter("Give --to FOLDER to export a run, or --for PROGRAM for a folder that is exported.")
    with quiet_stdout():
        from jepa_vlm.elsewhere import PROGRAMS, write_runs

        for name in programs:
            _ = PROGRAMS[name]  # a misspelt name is refused before anything is merged
        done = None if to is None else _merged(run, to)
    if done is not None and not json:  # before a program refuses the folder, which stands nevertheless
        write("\n  ".join((f"{done.folder}", *done.told())))
    with quiet_stdout():
        runs = write_runs(to or run, programs) if programs else {}
    if json:
        held = {"folder": run} if done is None else asdict(done)
        write_json({**held, **({"run": _as_json(runs)} if programs else {})})
        return
    for name, one in runs.items():
        write(f"\n{(to or run) / name}.sh\n\n{one.script().rstrip()}")


def _merged(run: Path, to: Path) -> Exported:
    from jepa_vlm.runs.environment import prepare
    from jepa_vlm.training import export as merge

    prepare(0)
    return merge(run, to=to)


def _as_json(runs: Mapping[str, Run]) -> dict[str, Any]:
    return {name: {**asdict(one), "command": list(one.command)} for name, one in runs.items()}
