"""``jepa-vlm data``: show, convert, check and count data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jepa_vlm.cli.output import SPEC, Json, columns, progress_bar, quiet_stdout, write, write_json

if TYPE_CHECKING:
    from jepa_vlm.latent_vlm import LatentVLM
    from jepa_vlm.runs.survey import RowFacts
    from jepa_vlm.trajectories import Trajectory


app = typer.Typer(help="Show, check and convert data.", no_args_is_help=True)


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


@app.command()
def check(
    spec: Annotated[str, SPEC],
    backbone: Annotated[str | None, typer.Option(help="Model whose tokens are counted.")] = None,
    recipe: Annotated[str, typer.Option(help="Recipe whose views are counted.")] = "pearl",
    visual_tokens: Annotated[int | None, typer.Option(min=1, help="Most tokens of one image.")] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Most tokens of a view; a longer one is a problem.")
    ] = None,
    decode: Annotated[bool, typer.Option(help="Decode every image; without it, headers alone are read.")] = True,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read; 0 reads in this one.")] = 0,
    json: Json = False,
) -> None:
    """Read every row once and count what is wrong, by kind and with the first places; exit 1 if it stops a run.

    Checks keys, images, boxes, placeholders, lengths, and the tokens of every view of the recipe. A run stops at a bad
    row, unless #bad=skip or #bad=clamp stands behind the data and the bad rows are few enough. Two rows with one id
    count as what stops a run, too.

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
    if any(one["stops"] for one in found.values()):
        raise typer.Exit(1)


@app.command()
def stats(
    spec: Annotated[str, SPEC],
    output: Annotated[Path, typer.Option(help="The figure; its numbers go beside it as .json.")] = Path("stats.svg"),
    backbone: Annotated[str | None, typer.Option(help="Model whose tokens are counted.")] = None,
    recipe: Annotated[str, typer.Option(help="Recipe whose views are counted.")] = "pearl",
    visual_tokens: Annotated[int | None, typer.Option(min=1, help="Most tokens of one image.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read; 0 reads in this one.")] = 0,
    json: Json = False,
) -> None:
    """Draw lengths, calls per trajectory, tools, box sizes, and the latent tokens that boxes hold.

    Examples:
        jepa-vlm data stats pixelreasoner:/data/PixelReasoner-SFT-Data/release.json
        jepa-vlm data stats lvr:/data/meta.json --backbone qwen2.5-vl-3b --output lvr.svg
    """
    numbers = output.with_suffix(".json")
    if numbers == output:
        raise typer.BadParameter(f"--output names the figure, such as stats.svg; its numbers go to {numbers}.")
    with quiet_stdout():
        from jepa_vlm.report.figures import data_figure
        from jepa_vlm.whole_files import write_whole

        found = tallies(
            spec,
            backbone=backbone,
            recipe=recipe,
            visual_tokens=visual_tokens,
            limit=None,
            decode=False,
            workers=workers,
        )
        write_whole(output, data_figure(found))
        write_whole(numbers, dumps(found, indent=1) + "\n")
    if json:
        write_json({"figure": str(output), "numbers": str(numbers), "sources": found})
        return
    for name, one in found.items():
        write(check_text(name, one))
    write(f"{output}, {numbers}")


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
    """Return the counts of each source of a spec of files, after reading all its rows."""
    from jepa_vlm.runs.data import load_rows
    from jepa_vlm.runs.survey import Tally

    sources = dict(load_rows(spec))
    model = model_that_counts(backbone, recipe=recipe, visual_tokens=visual_tokens)
    found = {}
    for source, facts in surveyed(sources, model, limit=limit, decode=decode, workers=workers):
        tally, rows, good = Tally(), sources[source], []
        for index, one in enumerate(facts):
            tally.add(one)
            good += [] if one.problem else [index]
        stops = not rows.bad.allows(tally.problems.counts.total(), tally.rows)
        ids = rows.ids
        taken = Counter(ids[index] for index in good)
        for twin in [one for one, count in taken.items() if count > 1]:
            stops = True
            tally.problems.add("id", f"{source}: id {twin!r} stands in {taken[twin]} rows; ids must be unique.")
        policy = {"bad": rows.bad.policy, "max_bad": rows.bad.most}
        found[source] = {**tally.summary(), "dropped": dict(rows.dropped), "policy": policy, "stops": stops}
    return found


def model_that_counts(backbone: str | None, *, recipe: str, visual_tokens: int | None) -> LatentVLM:
    """Return the model whose processor, template and views count tokens."""
    from jepa_vlm.adapters import load_backbone
    from jepa_vlm.latent_vlm import LatentVLM
    from jepa_vlm.recipe import load_recipe
    from jepa_vlm.runs.environment import prepare
    from jepa_vlm.runs.settings import BACKBONE

    name = backbone or BACKBONE
    prepare(0, backbone=name)
    checked = load_recipe(recipe)
    loaded = load_backbone(name, visual_tokens=visual_tokens, added_tokens=checked.added_tokens)
    return LatentVLM(loaded, checked.objective)


def surveyed(
    sources: Mapping[str, Sequence[Trajectory]],
    model: LatentVLM,
    *,
    limit: int | None = None,
    decode: bool = False,
    workers: int = 0,
) -> Iterator[tuple[str, Iterator[RowFacts]]]:
    """Yield each source's name and the facts of its rows, which are to be taken before the next source's."""
    from jepa_vlm.runs.survey import survey

    def moved(facts: Iterable[RowFacts], advance: Callable[[], None]) -> Iterator[RowFacts]:
        for one in facts:
            advance()
            yield one

    with progress_bar(sum(map(len, sources.values()))) as advance:
        for name, rows in sources.items():
            yield name, moved(survey(rows, model, workers=workers, decode=decode, limit=limit), advance)


def check_text(name: str, found: Mapping[str, Any]) -> str:
    """Return the counts of one source as text."""
    from jepa_vlm.trajectories.bad_rows import WAYS, problem_lines

    lines = [f"{name}: {found['rows']} rows, {found['good']} good, {found['bad']} bad"]
    lines += [f"  dropped by the format: {count} {why}" for why, count in found["dropped"].items()]
    lines += [f"  noted: {count} x {note}" for note, count in found["notes"].items()]
    lines += problem_lines(found["problems"])
    if found["bad"]:
        policy = found["policy"]
        if policy["bad"] == "refuse":
            lines.append(f"  A run stops at the first bad row. {WAYS}")
        else:
            ends = "stops: they are too many" if found["stops"] else "leaves them out"
            lines.append(f"  A run {ends} (#bad={policy['bad']},max_bad={policy['max_bad']:g}).")
    titles = ("VIEW", "TOKENS", "MEAN", "MEDIAN", "P95", "MAX")
    rows = [
        (view, kind, *(str(spread[key]) for key in ("mean", "median", "p95", "max")))
        for view, kinds in found["tokens"].items()
        for kind, spread in kinds.items()
        if spread["max"]
    ]
    return "\n".join([*lines, *([columns([titles, *rows], indent="  ")] if rows else [])])
