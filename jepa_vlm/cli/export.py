"""``jepa-vlm export``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from jepa_vlm.cli.output import Json, quiet_stdout, write, write_json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(export)


def export(
    run: Annotated[Path, typer.Argument(help="A run, or one of its checkpoints.")],
    to: Annotated[Path, typer.Option(help="A new folder.")],
    json: Json = False,
) -> None:
    """Merge a run's adapter into its base and check the folder with stock transformers before it appears."""
    with quiet_stdout():
        from jepa_vlm.runs.environment import prepare
        from jepa_vlm.training import export as merge

        prepare(0)
        done = merge(run, to=to)
    if json:
        write_json(asdict(done))
        return
    agreement = f"logits differ by {done.difference:.1g} of the largest"
    write(f"{done.folder}: {done.merged} weights changed by the merge, {agreement}.")
