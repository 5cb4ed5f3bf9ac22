"""``python -m benchmarks.inference``: count and time answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from benchmarks.command import RESULTS, application, command_line, say, write_record
from jepa_vlm.cli.output import Json, columns, quiet_stdout, write, write_json

app = application()


@app.callback(invoke_without_command=True)
def inference(
    shape: Annotated[str, typer.Option(help="tiny, 3b or 7b: sizes of Qwen2.5-VL, random weights.")] = "tiny",
    mix: Annotated[list[str] | None, typer.Option(help="lvr, pixelreasoner, thinkmorph; default all; repeats.")] = None,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens of every answer, its end token included.")] = 32,
    latents: Annotated[int, typer.Option(min=1, help="Latent steps of lvr's one latent segment.")] = 8,
    examples: Annotated[int, typer.Option(min=1, help="Number of prompts, asked as one batch.")] = 1,
    rounds: Annotated[int, typer.Option(min=1, help="Number of measured rounds.")] = 9,
    warmup: Annotated[int, typer.Option(min=0, help="Number of rounds before the measured ones.")] = 2,
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Device that generates.")] = "cpu",
    dtype: Annotated[Literal["auto", "float32", "bfloat16"], typer.Option(help="Type of the base weights.")] = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Random seed of lengths, words, pictures and weights.")] = 0,
    output: Annotated[Path | None, typer.Option(help="Path of the record, .json.")] = None,
    note: Annotated[str, typer.Option(help="Remark for the record, such as what else the machine did.")] = "",
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    json: Json = False,
) -> None:
    """Count and time answers of one length: plain generation, latent feedback and the tool loop; write a record."""
    with quiet_stdout():
        from benchmarks.inference.answers import run_inference
        from benchmarks.step.settings import SuiteSettings

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
        command = command_line("benchmarks.inference")
        record = run_inference(settings, tokens=tokens, latents=latents, command=command, note=note, say=say)
        write_record(path, record)
    if json:
        write_json({"record": str(path), "cases": record["cases"]})
    else:
        write(f"{answers_text(record['cases'])}\n\n{path}")


def answers_text(cases: Sequence[Mapping[str, Any]]) -> str:
    """Return the costs as a text table, each figure per answer."""
    rows = [("DATA", "WAY", "TOKENS", "LATENT STEPS", "CALLS", "GFLOPS", "SECONDS")]
    for case in cases:
        for name, one in case["ways"].items():
            written = (f"{one[part]:.4g}" for part in ("tokens", "latent_steps", "calls"))
            rows.append((case["mix"], name, *written, f"{one['flops'] / 1e9:.4g}", f"{one['seconds']['median']:.4g}"))
    return columns(rows)


if __name__ == "__main__":
    app(prog_name="python -m benchmarks.inference")
