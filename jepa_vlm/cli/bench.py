"""``jepa-vlm bench``."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from jepa_vlm.cli.output import Json, columns, quiet_stdout, write, write_json

if TYPE_CHECKING:
    from jepa_vlm.bench.against import Comparison

app = typer.Typer(help="Measure training steps and answers.", no_args_is_help=True)
RESULTS = Path("benchmarks") / "results"
CHECKPOINTING = {"off": (False,), "on": (True,), "both": (False, True)}


@app.callback()
def group() -> None:
    """Measure training steps and answers."""


@app.command()
def step(
    shape: Annotated[str, typer.Option(help="tiny, 3b or 7b: sizes of Qwen2.5-VL, random weights.")] = "tiny",
    mix: Annotated[list[str] | None, typer.Option(help="lvr, pixelreasoner, thinkmorph; default all; repeats.")] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(
            help="sft, sft_stock, pearl, pearl_cached, pearl_separate, pearl_released, lvr; default all; repeats."
        ),
    ] = None,
    checkpointing: Annotated[
        Literal["off", "on", "both"], typer.Option(help="Activation checkpointing of the decoder's layers.")
    ] = "off",
    examples: Annotated[int, typer.Option(min=1, help="Examples of a micro-batch.")] = 4,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds that are measured.")] = 9,
    warmup: Annotated[int, typer.Option(min=0, help="Rounds before the measured ones.")] = 2,
    device: Annotated[
        Literal["auto", "cpu", "cuda", "meta"], typer.Option(help="meta counts work and memory, and times nothing.")
    ] = "auto",
    dtype: Annotated[Literal["auto", "float32", "bfloat16"], typer.Option(help="Type of the base weights.")] = "auto",
    stock_attention: Annotated[str, typer.Option(help="transformers' attention in the stock steps.")] = "sdpa",
    crossover: Annotated[
        list[int] | None, typer.Option(min=1, help="Tokens of a micro-batch to time as well; repeats.")
    ] = None,
    deterministic: Annotated[bool, typer.Option("--deterministic", help="Ask for deterministic kernels.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of lengths, words, pictures and weights.")] = 0,
    against: Annotated[
        Path | None, typer.Option(help="An earlier record to compare with; the exit code is 1 on a regression.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="The record, .json; the pages stand beside it.")] = None,
    note: Annotated[str, typer.Option(help="Remark for the page, such as what else the machine did.")] = "",
    add: Annotated[bool, typer.Option("--add", help="Add the cases to the record that is there.")] = False,
    json: Json = False,
) -> None:
    """Count and time the training step against stock, reference and released ones; write a record and its page."""
    with quiet_stdout():
        from jepa_vlm.bench.against import compare_records
        from jepa_vlm.bench.record import merge_records, read_record
        from jepa_vlm.bench.settings import SuiteSettings
        from jepa_vlm.bench.suite import run_suite
        from jepa_vlm.report.step_page import write_step_page
        from jepa_vlm.whole_files import write_whole

        settings = SuiteSettings(
            shape=shape,
            mixes=tuple(mix or ()),
            variants=tuple(variant or ()),
            checkpointing=CHECKPOINTING[checkpointing],
            examples=examples,
            rounds=rounds,
            warmup=warmup,
            device=device,
            dtype=dtype,
            seed=seed,
            stock_attention=stock_attention,
            crossover=tuple(crossover or ()),
            deterministic=deterministic,
        )
        before = read_record(against) if against is not None else None
        path = output or RESULTS / f"step_{shape}_{settings.place.type}.json"
        there = read_record(path) if add else None
        record = run_suite(settings, command=("jepa-vlm", *sys.argv[1:]), note=note, say=_say)
        comparison = compare_records(record, before) if before is not None else None
        record = merge_records(there, record) if there is not None else record
        write_whole(path, json_module.dumps(record, indent=1) + "\n")
        write_step_page([record], path.with_suffix(".html"))
    found: dict[str, Any] = {"record": str(path), "page": str(path.with_suffix(".html"))}
    if comparison is not None:
        found["against"] = {
            "file": str(against),
            "compared": comparison.compared,
            "moved": [{**vars(moved), "worse": moved.worse} for moved in comparison.movements],
            "notes": list(comparison.notes),
        }
    if json:
        write_json(found)
    else:
        write(f"{path} and its pages, .html and .md")
        if comparison is not None:
            write(comparison_text(comparison))
    if comparison is not None and comparison.regressions:
        raise typer.Exit(1)


@app.command()
def inference(
    shape: Annotated[str, typer.Option(help="tiny, 3b or 7b: sizes of Qwen2.5-VL, random weights.")] = "tiny",
    mix: Annotated[list[str] | None, typer.Option(help="lvr, pixelreasoner, thinkmorph; default all; repeats.")] = None,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens of every answer, its end included.")] = 32,
    latents: Annotated[int, typer.Option(min=1, help="Latent steps of lvr's one look.")] = 8,
    examples: Annotated[int, typer.Option(min=1, help="Prompts, asked together.")] = 1,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds that are measured.")] = 9,
    warmup: Annotated[int, typer.Option(min=0, help="Rounds before the measured ones.")] = 2,
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Device that generates.")] = "cpu",
    dtype: Annotated[Literal["auto", "float32", "bfloat16"], typer.Option(help="Type of the base weights.")] = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Random seed of lengths, words, pictures and weights.")] = 0,
    output: Annotated[Path | None, typer.Option(help="The record, .json.")] = None,
    note: Annotated[str, typer.Option(help="Remark for the record, such as what else the machine did.")] = "",
    json: Json = False,
) -> None:
    """Count and time answers of one length: plain generation, latent feedback and the tool loop; write a record."""
    with quiet_stdout():
        from jepa_vlm.bench.inference import run_inference
        from jepa_vlm.bench.settings import SuiteSettings
        from jepa_vlm.whole_files import write_whole

        settings = SuiteSettings(
            shape=shape,
            mixes=tuple(mix or ()),
            examples=examples,
            rounds=rounds,
            warmup=warmup,
            device=device,
            dtype=dtype,
            seed=seed,
        )
        path = output or RESULTS / f"inference_{shape}_{settings.place.type}.json"
        command = ("jepa-vlm", *sys.argv[1:])
        record = run_inference(settings, tokens=tokens, latents=latents, command=command, note=note, say=_say)
        write_whole(path, json_module.dumps(record, indent=1) + "\n")
    if json:
        write_json({"record": str(path), "cases": record["cases"]})
    else:
        write(f"{answers_text(record['cases'])}\n\n{path}")


@app.command()
def page(
    records: Annotated[list[Path], typer.Argument(help="Records of `bench step`.")],
    output: Annotated[Path, typer.Option(help="The page; a Markdown one stands beside it.")] = Path("step.html"),
    json: Json = False,
) -> None:
    """Put several records on one page: a suite that took more than one call."""
    with quiet_stdout():
        from jepa_vlm.bench.record import read_record
        from jepa_vlm.report.step_page import write_step_page

        write_step_page([read_record(path) for path in records], output)
    if json:
        write_json({"page": str(output), "records": [str(path) for path in records]})
        return
    write(f"{output} and {output.with_suffix('.md')}")


def answers_text(cases: Sequence[Mapping[str, Any]]) -> str:
    """Return what answers cost as text, each figure per answer."""
    rows = [("DATA", "WAY", "TOKENS", "LATENT STEPS", "CALLS", "GFLOPS", "SECONDS")]
    for case in cases:
        for name, one in case["ways"].items():
            written = (f"{one[part]:.4g}" for part in ("tokens", "latent_steps", "calls"))
            rows.append((case["mix"], name, *written, f"{one['flops'] / 1e9:.4g}", f"{one['seconds']['median']:.4g}"))
    return columns(rows)


def comparison_text(comparison: Comparison) -> str:
    """Return what a comparison found as text."""
    rows = [
        (
            "WORSE" if moved.worse else "better",
            moved.variant,
            moved.figure,
            f"{moved.old:.4g}",
            f"{moved.new:.4g}",
            f"{moved.change:+.1%}",
            moved.case,
        )
        for moved in comparison.movements
    ]
    lines = [f"note: {note}" for note in comparison.notes]
    if rows:
        lines.append(columns([("", "VARIANT", "FIGURE", "BEFORE", "NOW", "CHANGE", "CASE"), *rows]))
    lines.append(f"{len(rows)} of {comparison.compared} figures moved beyond their spread")
    return "\n".join(lines)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
