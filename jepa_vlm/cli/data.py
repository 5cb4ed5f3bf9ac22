"""``jepa-vlm data``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jepa_vlm.cli import data_check
from jepa_vlm.cli.output import SPEC, Json, progress_bar, quiet_stdout, write, write_json

if TYPE_CHECKING:
    from jepa_vlm.trajectories import Trajectory

app = typer.Typer(help="Show, check and convert data.", no_args_is_help=True)

data_check.register(app)


@app.callback()
def group() -> None:
    """Look at data, check it, convert it."""


@app.command()
def convert(
    spec: Annotated[str, SPEC],
    to: Annotated[Path, typer.Option(help="A new folder for the store.")],
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave bad rows out and count them, however many.")
    ] = False,
    json: Json = False,
) -> None:
    """Write a parquet store: original image bytes, each image once, quick to open and to read anywhere.

    Examples:
        jepa-vlm data convert lvr:/data/meta.json --to /data/lvr-store
        jepa-vlm data convert pixelreasoner:/data/release.json --to /data/pr-store --skip-bad
    """
    with quiet_stdout():
        from jepa_vlm.runs.data import load_rows
        from jepa_vlm.trajectories.formats import write_store
        from jepa_vlm.trajectories.rows import Joined

        rows = Joined([one for _, one in load_rows(spec)])
        with progress_bar(len(rows)) as advance:
            done = write_store(rows, to, source=spec, skip_bad=skip_bad, advance=advance)
    if json:
        write_json({"store": str(to), "dropped": dict(rows.dropped), **asdict(done)})
        return
    write(f"{to}: {done.rows} trajectories, {done.images} images, used {done.repeated} times more")
    for word, counts in (("dropped by the format", rows.dropped), ("skipped", done.skipped), ("noted", done.notes)):
        for why, count in counts.items():
            write(f"{word}: {count} {why}")


@app.command()
def show(
    spec: Annotated[str, typer.Argument(help="playground:TASK, FORMAT:PATH, or a path.")],
    count: Annotated[int, typer.Option(min=1, help="Number of trajectories of each source.")] = 4,
    task: Annotated[str | None, typer.Option(help="Only trajectories of this task.")] = None,
    tool: Annotated[str | None, typer.Option(help="Only trajectories with a call of this tool.")] = None,
    min_calls: Annotated[int, typer.Option(min=0, help="Fewest tool images of a trajectory.")] = 0,
    max_calls: Annotated[int | None, typer.Option(min=0, help="Most tool images of a trajectory.")] = None,
    containing: Annotated[str, typer.Option(help="Only trajectories with this text in question, steps or id.")] = "",
    recipe: Annotated[str, typer.Option(help="Recipe whose views are shown.")] = "pearl",
    backbone: Annotated[str | None, typer.Option(help="Model whose tokens are shown.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of a playground's draws.")] = 0,
    output: Annotated[Path, typer.Option(help="File of the page.")] = Path("trajectories.html"),
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

        def wanted(one: Trajectory) -> bool:
            texts = (one.id, one.question, *(step.spoken for step in one.steps))
            return (
                task in (None, one.task)
                and tool in (None, *(step.call.name for step in one.steps if step.call is not None))
                and min_calls <= one.calls <= (one.calls if max_calls is None else max_calls)
                and any(containing in text for text in texts)
            )

        filtered = task is not None or tool is not None or min_calls or max_calls is not None or containing
        trajectories = first_trajectories(spec, count=count, seed=seed, keep=wanted if filtered else None)
        shown = load_recipe(recipe)
        loaded = load_backbone(backbone or BACKBONE, added_tokens=shown.added_tokens)
        model = LatentVLM(loaded, shown.objective, engine="separate")
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
