"""``jepa-vlm analyse``: the paper's analyses; each writes its numbers beside its figure."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from jepa_vlm.cli.data_commands import model_that_counts, surveyed
from jepa_vlm.cli.evaluate import answering_named, scoring_named
from jepa_vlm.cli.output import SPEC, Json, columns, quiet_stdout, written
from jepa_vlm.contrib.analysis import embedding_commands
from jepa_vlm.contrib.analysis.embedding_commands import Output

if TYPE_CHECKING:
    from jepa_vlm.adapters import Backbone
    from jepa_vlm.contrib.analysis.latent_steps import AccuracyBySteps, Control, Decoded
    from jepa_vlm.evaluation import Evaluation
    from jepa_vlm.generation import Latents
    from jepa_vlm.runs.questions import Questions

app = typer.Typer(no_args_is_help=True, help="Analyses of the paper: numbers as JSON and CSV, and a figure, of each.")
app.command()(embedding_commands.embeddings)
app.command()(embedding_commands.collapse)


@app.command("latent-steps")
def latent_steps(
    given: Annotated[
        list[str],
        typer.Argument(
            help="A run or an exported folder with latent slots; or saved evaluations, STEPS[:CONTROL]=FILE."
        ),
    ],
    output: Output = Path("analysis"),
    on: Annotated[
        str, typer.Option(help="Benchmark: playground:TASK, vstar:PATH, mmvp:PATH, blink:PATH.")
    ] = "playground",
    protocol: Annotated[str | None, typer.Option(help="Protocol of vstar, mmvp and blink.")] = None,
    steps: Annotated[str, typer.Option(help="Numbers of latent tokens; 0 is plain decoding.")] = "0,1,2,4,8,16",
    controls: Annotated[str, typer.Option(help="noise, dropped, or both with a comma between.")] = "noise,dropped",
    leave: Annotated[
        Literal["count", "end"] | None,
        typer.Option(
            help="End of latent steps: after their number, or at END (that number at most); if not given, the recipe's."
        ),
    ] = None,
    entry: Annotated[
        Literal["forced", "model"] | None,
        typer.Option(help="Whether latent steps are forced, or the model decides; if not given, the recipe's."),
    ] = None,
    scoring: Annotated[str | None, typer.Option(help="Scoring; the protocol's own if not given.")] = None,
    questions: Annotated[
        int | None, typer.Option(min=1, help="Number of questions; 512 of the playground, else all.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the questions.")] = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Questions per forward.")] = 16,
    json: Json = False,
) -> None:
    """Draw accuracy against the number of latent tokens, beside noise and dropped latents (Figure 3).

    Answers are kept in the output folder, so that an interrupted analysis goes on.

    Examples:
        jepa-vlm analyse latent-steps runs/lvr --on vstar:/data/vstar --entry model
        jepa-vlm analyse latent-steps 0=plain.json 8=own.json 8:noise=noise.json 8:dropped=dropped.json
    """
    counts, kinds = _whole_numbers(steps, least=0), [_control(name) for name in controls.split(",") if name]
    with quiet_stdout():
        from jepa_vlm.contrib.analysis.analysis_files import write_analysis
        from jepa_vlm.contrib.analysis.latent_steps import accuracy_by_steps, decode_by_steps, latent_steps_figure
        from jepa_vlm.runs.questions import load_model, questions_of

        if any("=" in one for one in given):
            decoded = [_decoded(one) for one in given]
        else:
            model = _one_model(given)
            scorings = [scoring_named(scoring)] if scoring else []
            items = questions_of(on, protocol=protocol, scorings=scorings, count=questions, seed=seed)
            own = answering_named(model, steps=max(counts), leave=leave, entry=entry).with_latents()
            if own is None:
                raise typer.BadParameter(f"{model} has no latent slots; give a run of lvr, mirage or coconut.")
            answered = functools.partial(
                _answered, load_model(model), items, seed=seed, batch_size=batch_size, answers=output / "answers"
            )
            decoded = decode_by_steps(answered, own, steps=counts, controls=kinds)
        found = accuracy_by_steps(decoded, scoring=scoring)
        summary = found.summary()
        paths = write_analysis(
            output,
            "latent-steps",
            summary=summary,
            table=found.table(),
            figure=latent_steps_figure(found),
            command=("jepa-vlm", *sys.argv[1:]),
        )
    written(json, summary, _steps_text(found), paths)


def _answered(
    backbone: Backbone, questions: Questions, answering: Latents, *, seed: int, batch_size: int, answers: Path
) -> Evaluation:
    """Ask the questions; the answers of each number of latent steps and control have a folder of their own."""
    from jepa_vlm.runs.questions import ask

    typer.echo(f"{answering.latents or 'plain decoding'}: {len(questions.items)} questions", err=True)
    folder = answers / f"{answering.steps}-{answering.control}"
    return ask(backbone, questions, seed=seed, batch_size=batch_size, output=folder, answering=answering)


def _one_model(given: Sequence[str]) -> str:
    if len(given) == 1:
        return given[0]
    raise typer.BadParameter(f"One model is asked at a time, got {', '.join(given)}.")


def _control(name: str) -> Control:
    known: dict[str, Control] = {"noise": "noise", "dropped": "dropped"}
    if name not in known:
        raise typer.BadParameter(f"--controls are noise and dropped, got {name!r}.")
    return known[name]


def _whole_numbers(text: str, *, least: int = 1) -> list[int]:
    """Return the whole numbers of an option such as 4,8,16."""
    if not re.fullmatch(r"\d+(,\d+)*", text) or min(map(int, text.split(","))) < least:
        raise typer.BadParameter(f"Numbers must be whole, at least {least}, with commas between; got {text!r}.")
    return [int(part) for part in text.split(",")]


def _decoded(given: str) -> Decoded:
    from jepa_vlm.contrib.analysis.latent_steps import CONTROLS, Decoded
    from jepa_vlm.evaluation import Evaluation

    read = re.fullmatch(r"(\d+)(?::(\w+))?=(.+)", given)
    control: Control | None = next((name for name in CONTROLS if read and name == (read[2] or "none")), None)
    if read is None or control is None or (control != "none" and not int(read[1])):
        raise typer.BadParameter(
            f"An evaluation is STEPS=FILE, or STEPS:noise=FILE or STEPS:dropped=FILE with steps, got {given!r}."
        )
    return Decoded(int(read[1]), control, Evaluation.from_json(Path(read[3])))


def _steps_text(found: AccuracyBySteps) -> str:
    rows: list[Sequence[str]] = [
        ("LATENT TOKENS", "CONTROL", "ACCURACY", "INTERVAL", "LATENT PATH RAN", "P AGAINST OWN", "P AGAINST 0")
    ]
    for point in found.points:
        one = point.accuracy
        interval = f"[{one.low:.1%}, {one.high:.1%}] n={one.n}"
        ran = "" if point.ran is None else f"{point.ran:.1%}"
        tests = ("" if test is None else f"{test.p_value:.3g}" for test in (point.against_real, point.against_plain))
        rows.append((str(point.steps), point.control, f"{one.value:.1%}", interval, ran, *tests))
    if found.slope is None:
        return columns(rows)
    value, low, high = (100 * part for part in found.slope)
    return f"{columns(rows)}\n\nEach doubling changes accuracy by {value:+.2f} points [{low:+.2f}, {high:+.2f}]."


@app.command("latent-counts")
def latent_counts(
    spec: Annotated[str, SPEC],
    output: Output = Path("analysis"),
    inference: Annotated[str, typer.Option(help="Fixed numbers of latent steps to compare with.")] = "4,8,16",
    backbone: Annotated[str | None, typer.Option(help="Model whose tokens are counted.")] = None,
    visual_tokens: Annotated[int | None, typer.Option(min=1, help="Most tokens of one image.")] = None,
    count: Annotated[int, typer.Option(min=1, help="Trajectories of a playground; files are read whole.")] = 512,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read; 0 reads in this one.")] = 0,
    json: Json = False,
) -> None:
    """Count the latent tokens that a data set's boxes ask for, against the fixed numbers of inference (Figure 2).

    Examples:
        jepa-vlm analyse latent-counts lvr:/data/meta_data_lvr_sft_stage1.json --backbone qwen2.5-vl-7b --workers 8
        jepa-vlm analyse latent-counts playground:mixture
    """
    steps = _whole_numbers(inference)
    with quiet_stdout():
        from jepa_vlm.contrib.analysis.analysis_files import write_analysis
        from jepa_vlm.contrib.analysis.latent_counts import latent_counts as counted
        from jepa_vlm.contrib.analysis.latent_counts import latent_counts_figure
        from jepa_vlm.runs.data import drawn_or_read

        sources = dict(drawn_or_read(spec, count=count))
        model = model_that_counts(backbone, recipe="sft", visual_tokens=visual_tokens)
        found = {name: counted(facts, inference=steps) for name, facts in surveyed(sources, model, workers=workers)}
        summary = {"spec": spec, "backbone": model.backbone.name, **{n: one.summary() for n, one in found.items()}}
        paths = write_analysis(
            output,
            "latent-counts",
            summary=summary,
            table=[{"source": name, **row} for name, one in found.items() for row in one.table()],
            figure=latent_counts_figure(found),
            command=("jepa-vlm", *sys.argv[1:]),
        )
    rows = [("SOURCE", "UNIT", "COUNT", "MEDIAN", "P95", "MAX", *(f"ABOVE {n}" for n in sorted(set(steps))))]
    for name, one in found.items():
        for unit in ("call", "example"):
            own = one.summary()[f"per_{unit}"]
            shares = (f"{share:.1%}" for share in own["share_above"].values())
            rows.append((name, unit, *(str(own[key]) for key in ("count", "median", "p95", "max")), *shares))
    written(json, summary, columns(rows), paths)
