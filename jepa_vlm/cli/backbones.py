"""``jepa-vlm backbones``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from jepa_vlm.adapters.names import BACKBONES, Named
from jepa_vlm.cli.output import Json, columns, progress_bar, quiet_stdout, write, write_json

if TYPE_CHECKING:
    from jepa_vlm.conformance import Result

app = typer.Typer(help="List and check vision-language models.", invoke_without_command=True)
Found = Mapping[str, "Sequence[Result]"]


@app.callback()
def bare(ctx: typer.Context, json: Json = False) -> None:
    """List the vision-language models that have a name."""
    if ctx.invoked_subcommand is None:
        show(json=json)


@app.command("list")
def listed(json: Json = False) -> None:
    """List them."""
    show(json=json)


@app.command()
def verify(
    names: Annotated[list[str], typer.Argument(help="Names of `backbones`, folders, or hub ids.")],
    dtype: Annotated[
        Literal["float32", "float64", "bfloat16"] | None,
        typer.Option(help="In which to compute; float64 for a tiny-random model, else float32."),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print one table row for each.")] = False,
    json: Json = False,
) -> None:
    """Hold every promise that the library makes about a model on the model itself; exit 1 if one fails."""
    with quiet_stdout():
        import torch

        from jepa_vlm.conformance import CHECKS
        from jepa_vlm.conformance import verify as hold_all
        from jepa_vlm.runs.environment import prepare

    found: dict[str, tuple[Result, ...]] = {}
    with progress_bar(len(names) * len(CHECKS)) as advance:
        for name in names:
            with quiet_stdout():
                prepare(0, backbone=name)
                kind = dtype or ("float64" if name.startswith("tiny-random") else "float32")
                found[name] = hold_all(name, dtype=getattr(torch, kind), after_each=advance)
            if not json and not markdown:
                write(report(name, found[name]))
    if json:
        write_json({"backbones": {name: [asdict(result) for result in results] for name, results in found.items()}})
    elif markdown:
        write(table(found))
    if any(result.verdict == "fail" for results in found.values() for result in results):
        raise typer.Exit(1)


def report(name: str, results: Sequence[Result]) -> str:
    """Return the checks of one backbone as text, each failure with what it means."""
    rows = [(result.verdict.upper(), result.check, result.detail) for result in results]
    failed = [result for result in results if result.verdict == "fail"]
    lines = [name, columns(rows, indent="  ")]
    lines += [f"  {result.check}: if it does not hold, {result.meaning}." for result in failed]
    return "\n".join([*lines, f"  {held(results)} checks hold"])


def held(results: Sequence[Result]) -> str:
    """Return how many checks hold, of how many that have something to say."""
    said = [result for result in results if result.verdict != "not applicable"]
    return f"{sum(result.verdict == 'pass' for result in said)} of {len(said)}"


def table(found: Found) -> str:
    """Return a Markdown table with a row for each backbone."""
    lines = ["| family | checked on | engines | checks held | remark |", "|---|---|---|---|---|"]
    for name, results in found.items():
        remarks = [f"{r.check}: {r.detail}" for r in results if r.verdict != "pass"]
        apart = any(r.check == "one_pass equals separate" and r.verdict != "pass" for r in results)
        family = BACKBONES[name].family if name in BACKBONES else name
        engines = "separate" if apart else "one_pass, separate"
        cells = (f"`{family}`", f"`{name}`", engines, held(results), "; ".join(remarks))
        lines.append(f"| {' | '.join(cells)} |".replace("|  |", "| |"))
    return "\n".join(lines)


def show(*, json: bool) -> None:
    """Print the list."""
    if json:
        found: dict[str, Any] = {name: asdict(named) for name, named in BACKBONES.items()}
        write_json({"backbones": found})
        return
    public = {name: named for name, named in BACKBONES.items() if named.hub_id}
    write(columns([(name, named.note) for name, named in BACKBONES.items() if name not in public]))
    write("")
    write(columns([("FROM THE HUB", "", "VISUAL TOKENS", "VERIFIED ON REAL WEIGHTS"), *map(_row, public.items())]))
    write(
        "\nA local folder saved by transformers, or a hub id (owner/name), works too: jepa-vlm backbones verify FOLDER."
    )


def _row(entry: tuple[str, Named]) -> tuple[str, str, str, str]:
    name, named = entry
    remark = f" ({named.note})" if named.note else ""
    return name, named.hub_id, named.visual_tokens, named.verified + remark
