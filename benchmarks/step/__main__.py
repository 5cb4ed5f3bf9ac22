"""``python -m benchmarks.step``: count and time the training step; ``... page`` makes an HTML page of records."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from benchmarks.command import RESULTS, application, command_line, say, write_record
from jepa_vlm.cli.output import Json, columns, quiet_stdout, write, write_json

if TYPE_CHECKING:
    from benchmarks.step.records import Comparison

app = application()
CHECKPOINTING = {"off": (False,), "on": (True,), "both": (False, True)}


@app.callback(invoke_without_command=True)
def step(
    context: typer.Context,
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
    rounds: Annotated[int, typer.Option(min=1, help="Number of measured rounds.")] = 9,
    warmup: Annotated[int, typer.Option(min=0, help="Number of rounds before the measured ones.")] = 2,
    device: Annotated[
        Literal["auto", "cpu", "cuda", "meta"],
        typer.Option(help="Device of the step; meta counts work and memory, and times nothing."),
    ] = "auto",
    dtype: Annotated[Literal["auto", "float32", "bfloat16"], typer.Option(help="Type of the base weights.")] = "auto",
    stock_attention: Annotated[str, typer.Option(help="transformers' attention in the stock steps.")] = "sdpa",
    crossover: Annotated[
        list[int] | None, typer.Option(min=1, help="Size in tokens of a micro-batch to time as well; repeats.")
    ] = None,
    deterministic: Annotated[bool, typer.Option("--deterministic", help="Ask for deterministic kernels.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of lengths, words, pictures and weights.")] = 0,
    against: Annotated[
        Path | None, typer.Option(help="An earlier record to compare with; the exit code is 1 on a regression.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Path of the record, .json; its tables go beside it, .md.")
    ] = None,
    note: Annotated[str, typer.Option(help="Remark for the page, such as what else the machine did.")] = "",
    add: Annotated[bool, typer.Option("--add", help="Add the cases to the record that is there.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    json: Json = False,
) -> None:
    """Count and time the training step against stock, reference and released ones; write a record and its tables."""
    if context.invoked_subcommand is not None:
        return
    with quiet_stdout():
        from benchmarks.step import suite
        from benchmarks.step.page import step_markdown
        from benchmarks.step.records import compare_records, merge_records, read_record
        from benchmarks.step.settings import SuiteSettings
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
        record = suite.run_suite(settings, command=command_line("benchmarks.step"), note=note, say=say)
        comparison = compare_records(record, before) if before is not None else None
        record = merge_records(there, record) if there is not None else record
        write_record(path, record)
        tables = path.with_suffix(".md")
        write_whole(tables, step_markdown([record]))
    found: dict[str, Any] = {"record": str(path), "page": str(tables)}
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
        write(f"{path} and its tables, {tables}")
        if comparison is not None:
            write(comparison_text(comparison))
    if comparison is not None and comparison.regressions:
        raise typer.Exit(1)


@app.command()
def page(
    records: Annotated[list[Path], typer.Argument(help="Records of `python -m benchmarks.step`.")],
    output: Annotated[Path, typer.Option(help="Path of the HTML page; a Markdown page goes beside it.")] = Path(
        "step.html"
    ),
    json: Json = False,
) -> None:
    """Make an HTML page with figures of one record, or of several when a suite took more than one call."""
    with quiet_stdout():
        from benchmarks.step.page import write_step_page
        from benchmarks.step.records import read_record

        write_step_page([read_record(path) for path in records], output)
    if json:
        write_json({"page": str(output), "records": [str(path) for path in records]})
        return
    write(f"{output} and {output.with_suffix('.md')}")


def comparison_text(comparison: Comparison) -> str:
    """Return the result of a comparison as text."""
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


if __name__ == "__main__":
    app(prog_name="python -m benchmarks.step")
