"""``jepa-vlm data check`` and ``jepa-vlm data stats``: every row read once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jepa_vlm.cli.output import SPEC, Json, columns, progress_bar, quiet_stdout, write, write_json

if TYPE_CHECKING:
    from jepa_vlm.latent_vlm import LatentVLM
    from jepa_vlm.runs.survey import RowFacts
    from jepa_vlm.trajectories import Trajectory


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(check)
    app.command()(stats)


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
