"""``jepa-vlm backbones``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import typer

from jepa_vlm.adapters.names import BACKBONES
from jepa_vlm.cli.output import Json, columns, write, write_json

app = typer.Typer(help="List the vision-language models that have a name.", invoke_without_command=True)


@app.callback()
def bare(ctx: typer.Context, json: Json = False) -> None:
    """List the vision-language models that have a name."""
    if ctx.invoked_subcommand is None:
        show(json=json)


@app.command("list")
def listed(json: Json = False) -> None:
    """List them."""
    show(json=json)


def show(*, json: bool) -> None:
    """Print the list."""
    if json:
        found: dict[str, Any] = {name: asdict(named) for name, named in BACKBONES.items()}
        write_json({"backbones": found})
        return
    write(columns([(name, named.note) for name, named in BACKBONES.items()]))
    write("\nA local folder saved by transformers, or a hub id (owner/name), works too.")
