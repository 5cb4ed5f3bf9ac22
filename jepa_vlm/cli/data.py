"""``jepa-vlm data``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jepa_vlm.cli.output import Json, columns, quiet_stdout, write, write_json

if TYPE_CHECKING:
    from jepa_vlm.trajectories import Trajectory

app = typer.Typer(help="Look at data, check it, convert it.", no_args_is_help=True)

SPEC = typer.Argument(help="FORMAT:PATH, FORMAT:PATH#KEY=VALUE, or a path; several by commas.")


@app.callback()
def group() -> None:
    """Look at data, check it, convert it."""


@app.command()
def check(
    spec: Annotated[str, SPEC],
    backbone: Annotated[str | None, typer.Option(help="Whose tokens are counted.")] = None,
    recipe: Annotated[str, typer.Option(help="Whose views are counted.")] = "pearl",
    visual_tokens: Annotated[int | None, typer.Option(min=1, help="Most tokens of one image.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="A longer view is a problem.")] = None,
    decode: Annotated[bool, typer.Option(help="Decode every image; else read headers.")] = True,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read; 0 reads in this one.")] = 0,
    json: Json = False,
) -> None:
    """Read every row once and count what is wrong, by kind and with the first places; exit 1 if anything is.

    Checks keys, images, boxes, placeholders, lengths, and the tokens of every view of the recipe.

    Examples:
        jepa-vlm data check lvr:/data/meta_data_lvr_sft_stage1.json --workers 8
        jepa-vlm data check thinkmorph:/data/ThinkMorph#cap=6000 --backbone qwen2.5-vl-3b --max-tokens 4096
    """
    with quiet_stdout():
        found = tallies(
            spec,
            backbone=backbone,
            recipe=recipe,
            visual_tokens=visual_tokens,
            limit=max_tokens,
            decode=decode,
            workers=workers,
        )
    bad = sum(one["bad"] for one in found.values())
    if json:
        write_json({"bad": bad, "sources": found})
    else:
        for name, one in found.items():
            write(check_text(name, one))
    if bad:
        raise typer.Exit(1)


@app.command()
def stats(
    spec: Annotated[str, SPEC],
    output: Annotated[Path, typer.Option(help="The figure; its numbers go beside it as .json.")] = Path("stats.svg"),
    backbone: Annotated[str | None, typer.Option(help="Whose tokens are counted.")] = None,
    recipe: Annotated[str, typer.Option(help="Whose views are counted.")] = "pearl",
    visual_tokens: Annotated[int | None, typer.Option(min=1, help="Most tokens of one image.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read; 0 reads in this one.")] = 0,
    json: Json = False,
) -> None:
    """Draw lengths, calls per trajectory, tools, box sizes, and the latent tokens that boxes hold.

    Examples:
        jepa-vlm data stats pixelreasoner:/data/PixelReasoner-SFT-Data/release.json
        jepa-vlm data stats lvr:/data/meta.json --backbone qwen2.5-vl-3b --output lvr.svg
    """
    with quiet_stdout():
        from jepa_vlm.report.data_figure import data_figure

        found = tallies(
            spec,
            backbone=backbone,
            recipe=recipe,
            visual_tokens=visual_tokens,
            limit=None,
            decode=False,
            workers=workers,
        )
        output.write_text(data_figure(found), encoding="utf-8")
        numbers = output.with_suffix(".json")
        numbers.write_text(dumps(found, indent=1) + "\n", encoding="utf-8")
    if json:
        write_json({"figure": str(output), "numbers": str(numbers), "sources": found})
        return
    for name, one in found.items():
        write(check_text(name, one))
    write(f"{output}, {numbers}")


@app.command()
def convert(
    spec: Annotated[str, SPEC],
    to: Annotated[Path, typer.Option(help="A new folder for the store.")],
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave bad rows out and count them.")] = False,
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
    for word, counts in (("dropped by the format", rows.dropped), ("skipped", done.skipped)):
        for why, count in counts.items():
            write(f"{word}: {count} {why}")


def tallies(
    spec: str,
    *,
    backbone: str | None,
    recipe: str,
    visual_tokens: int | None,
    limit: int | None,
    decode: bool,
    workers: int,
) -> dict[str, dict[str, Any]]:
    """Return the counts of each source of a spec, after reading all its rows."""
    from jepa_vlm.adapters import load_backbone
    from jepa_vlm.latent_vlm import LatentVLM
    from jepa_vlm.recipe import load_recipe
    from jepa_vlm.runs.data import load_rows
    from jepa_vlm.runs.environment import prepare
    from jepa_vlm.runs.settings import BACKBONE
    from jepa_vlm.runs.survey import survey
    from jepa_vlm.runs.tally import Tally

    sources = load_rows(spec)
    name = backbone or BACKBONE
    prepare(0, backbone=name)
    model = LatentVLM(load_backbone(name, visual_tokens=visual_tokens), load_recipe(recipe).objective)
    found = {}
    with progress_bar(sum(len(rows) for _, rows in sources)) as advance:
        for source, rows in sources:
            tally, taken = Tally(), Counter(rows.ids)
            for facts in survey(rows, model, workers=workers, decode=decode, limit=limit):
                tally.add(facts)
                advance()
            for twin in [one for one, count in taken.items() if count > 1]:
                tally.problem("id", f"{source}: id {twin!r} stands in {taken[twin]} rows; ids must be unique.")
            found[source] = {**tally.summary(), "dropped": dict(rows.dropped)}
    return found


def check_text(name: str, found: Mapping[str, Any]) -> str:
    """Return the counts of one source as text."""
    lines = [f"{name}: {found['rows']} rows, {found['good']} good, {found['bad']} bad"]
    lines += [f"  dropped by the format: {count} {why}" for why, count in found["dropped"].items()]
    for kind, one in found["problems"].items():
        lines.append(f"  {one['count']} x {kind}")
        lines += [f"    {message if len(message) <= 300 else message[:300] + '...'}" for message in one["first"]]
    titles = ("VIEW", "TOKENS", "MEAN", "MEDIAN", "P95", "MAX")
    rows = [
        (view, kind, *(str(spread[key]) for key in ("mean", "median", "p95", "max")))
        for view, kinds in found["tokens"].items()
        for kind, spread in kinds.items()
        if spread["max"]
    ]
    return "\n".join([*lines, *([columns([titles, *rows], indent="  ")] if rows else [])])


@contextmanager
def progress_bar(total: int) -> Iterator[Callable[[], None]]:
    """Draw a bar on stderr, if that is a terminal; yield what moves it by one."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    bar = Progress(BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=Console(stderr=True))
    with bar:
        task = bar.add_task("", total=total)
        yield lambda: bar.advance(task)


@app.command()
def show(
    spec: Annotated[str, typer.Argument(help="playground:TASK, FORMAT:PATH, or a path.")],
    count: Annotated[int, typer.Option(min=1, help="How many trajectories of each source.")] = 4,
    task: Annotated[str | None, typer.Option(help="Only of this task.")] = None,
    tool: Annotated[str | None, typer.Option(help="Only with a call of this tool.")] = None,
    min_calls: Annotated[int, typer.Option(min=0, help="Only with so many tool images or more.")] = 0,
    max_calls: Annotated[int | None, typer.Option(min=0, help="Only with so many tool images or fewer.")] = None,
    containing: Annotated[str, typer.Option(help="Only with this text in question, steps or id.")] = "",
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
        loaded = load_backbone(backbone or BACKBONE)
        model = LatentVLM(loaded, load_recipe(recipe).objective)
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
