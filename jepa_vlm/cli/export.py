"""``jepa-vlm export``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jepa_vlm.cli.output import Json, quiet_stdout, write, write_json
from jepa_vlm.errors import UnknownNameError
from jepa_vlm.plugins import PROGRAMS, ProgramCommand, plugins

if TYPE_CHECKING:
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
        _check_names(programs)  # a misspelt name is refused before anything is merged
        done = None if to is None else _merged(run, to)
    if done is not None and not json:  # before a program refuses the folder, which stands nevertheless
        write("\n  ".join((f"{done.folder}", *done.told())))
    with quiet_stdout():
        runs = write_scripts(to or run, programs) if programs else {}
    if json:
        held = {"folder": run} if done is None else asdict(done)
        write_json({**held, **({"run": _as_json(runs)} if programs else {})})
        return
    for name, one in runs.items():
        write(f"\n{(to or run) / name}.sh\n\n{one.script().rstrip()}")


def write_scripts(folder: Path, programs: Sequence[str]) -> dict[str, ProgramCommand]:
    """Write ``PROGRAM.sh``, and the files that it reads, into an exported folder; return the commands by program.

    Paths in them are absolute: write them again if the folder moves.

    Raises:
        UnknownNameError: If there is no such program.
        ExportError: If the folder is no exported model, or one of the programs cannot run it; then none is written.
    """
    from jepa_vlm.whole_files import write_whole

    _check_names(programs)
    targets = plugins(PROGRAMS)
    commands: dict[str, ProgramCommand] = {name: targets[name].load()(folder) for name in dict.fromkeys(programs)}
    for name, command in commands.items():
        for file, text in command.files.items():
            write_whole(folder / file, text)
        script = folder / f"{name}.sh"
        write_whole(script, command.script())
        mode = script.stat().st_mode
        script.chmod(mode | (mode & 0o444) >> 2)  # whoever may read it may run it
    return commands


def _check_names(programs: Sequence[str]) -> None:
    known = plugins(PROGRAMS)
    for name in programs:
        if name not in known:
            raise UnknownNameError("program", name, known=known)


def _merged(run: Path, to: Path) -> Exported:
    from jepa_vlm.runs.environment import prepare
    from jepa_vlm.training import export as merge

    prepare(0)
    return merge(run, to=to)


def _as_json(runs: Mapping[str, ProgramCommand]) -> dict[str, Any]:
    return {name: {**asdict(one), "command": list(one.command)} for name, one in runs.items()}
