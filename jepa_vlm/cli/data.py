"""``jepa-vlm data``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jepa_vlm.cli.output import Json, quiet_stdout, write, write_json

app = typer.Typer(help="Look at data.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Look at data."""


@app.command()
def show(
    spec: Annotated[str, typer.Argument(help="playground:TASK, jsonl:PATH, or a path.")],
    count: Annotated[int, typer.Option(min=1, help="How many trajectories.")] = 4,
    recipe: Annotated[str, typer.Option(help="Whose views are shown.")] = "pearl",
    backbone: Annotated[str | None, typer.Option(help="Whose tokens are shown.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of a playground's draws.")] = 0,
    output: Annotated[Path, typer.Option(help="The page.")] = Path("trajectories.html"),
    json: Json = False,
) -> None:
    """Write an HTML page of a few trajectories: images with their boxes, each view's tokens by what they are for."""
    with quiet_stdout():
        from jepa_vlm.adapters import load_backbone
        from jepa_vlm.latent_vlm import LatentVLM
        from jepa_vlm.recipe import load_recipe
        from jepa_vlm.report.trajectory_page import decode_tokens, write_trajectory_page
        from jepa_vlm.runs.data import first_trajectories
        from jepa_vlm.runs.environment import prepare
        from jepa_vlm.runs.settings import BACKBONE

        prepare(seed)
        trajectories = first_trajectories(spec, count=count, seed=seed)
        loaded = load_backbone(backbone or BACKBONE)
        model = LatentVLM(loaded, load_recipe(recipe).objective, engine="separate")
        entries = []
        for trajectory in trajectories:
            views = model.serialize(trajectory)
            tokens = {name: decode_tokens(loaded.tokenizer, view) for name, view in views.items()}
            entries.append((trajectory, views, tokens))
        write_trajectory_page(entries, output)
    if json:
        write_json({"page": str(output), "trajectories": [trajectory.id for trajectory in trajectories]})
        return
    write(f"{output}: {len(entries)} trajectories")
