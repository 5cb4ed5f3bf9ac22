"""``jepa-vlm backbones``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from jepa_vlm.adapters.names import BACKBONES, Named
from jepa_vlm.cli.output import Json, columns, quiet_stdout, write, write_json

if TYPE_CHECKING:
    from jepa_vlm.conformance import CheckResult

app = typer.Typer(help="List and check vision-language models.", invoke_without_command=True)
Found = Mapping[str, "Sequence[CheckResult]"]


@app.callback()
def bare(ctx: typer.Context, json: Json = False) -> None:
    """List the vision-language models that have a name."""
    if ctx.invoked_subcommand is None:
        show(json=json)


@app.command("list")
def listed(json: Json = False) -> None:
    """List the vision-language models that have a name."""
    show(json=json)


@app.command()
def verify(
    names: Annotated[list[str], typer.Argument(help="Names of `backbones`, folders, or hub ids.")],
    dtype: Annotated[
        Literal["float32", "float64", "bfloat16"] | None,
        typer.Option(
            help="Type in which the checks compute; if not given, float64 for tiny-random models, else float32."
        ),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            help="Checks to run, separated by commas: names from the second column of the output; all if not given."
        ),
    ] = None,
    visual_tokens: Annotated[
        int | None, typer.Option(min=1, help="Most tokens of one image; the processor's own limit if not given.")
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print one row of a Markdown table for each model.")
    ] = False,
    json: Json = False,
) -> None:
    """Verify the adapter, the processor and the engines against the model itself; exit 1 if a check fails.

    Each check prints a line when it ends, the cheap ones first: to stderr with --json and --markdown.
    """
    with quiet_stdout():
        import torch

        from jepa_vlm.conformance import checks_named
        from jepa_vlm.conformance import verify as run_checks
        from jepa_vlm.runs.environment import prepare

    keys = [key.strip() for key in (only or "").split(",") if key.strip()]
    checks_named(keys)  # a misspelt one is refused before anything is loaded
    if keys and markdown:
        raise typer.BadParameter("A table row counts all checks; leave --only out beside --markdown.")
    say = partial(typer.echo, file=sys.stderr if json or markdown else sys.stdout)
    found: dict[str, tuple[CheckResult, ...]] = {}
    for name in names:
        say(name)
        with quiet_stdout():
            prepare(0, backbone=name)
            kind = dtype or ("float64" if name.startswith("tiny-random") else "float32")
            found[name] = run_checks(
                name,
                dtype=getattr(torch, kind),
                visual_tokens=visual_tokens,
                only=keys,
                after_each=lambda result: say(line(result)),
            )
        say(f"  {passed(found[name])} checks pass")
    if json:
        write_json({"backbones": {name: [asdict(result) for result in results] for name, results in found.items()}})
    elif markdown:
        write(table(found))
    if any(result.verdict == "fail" for results in found.values() for result in results):
        raise typer.Exit(1)


def line(result: CheckResult) -> str:
    """Return the line of one result, and under a failure what it means."""
    text = f"  {result.verdict.upper():<14}  {result.key:<10}  {result.check}: {result.detail}"
    return f"{text}\n  {'':<14}  {'':<10}  if it does not hold, {result.meaning}" if result.meaning else text


def passed(results: Sequence[CheckResult]) -> str:
    """Return how many checks pass, of how many that apply."""
    applied = [result for result in results if result.verdict != "not applicable"]
    return f"{sum(result.verdict == 'pass' for result in applied)} of {len(applied)}"


def table(found: Found) -> str:
    """Return a Markdown table with a row for each backbone."""
    lines = ["| family | checked on | engines | checks passed | remark |", "|---|---|---|---|---|"]
    for name, results in found.items():
        remarks = [f"{r.check}: {r.detail}" for r in results if r.verdict != "pass"]
        apart = any(r.key == "engines" and r.verdict != "pass" for r in results)
        family = BACKBONES[name].family if name in BACKBONES else name
        engines = "separate" if apart else "one_pass, separate"
        cells = (f"`{family}`", f"`{name}`", engines, passed(results), "; ".join(remarks))
        lines.append(f"| {' | '.join(cells)} |".replace("|  |", "| |"))
    return "\n".join(lines)


def show(*, json: bool) -> None:
    """Print the list of backbones."""
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
