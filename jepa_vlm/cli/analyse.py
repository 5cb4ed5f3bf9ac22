"""``jepa-vlm analyse``: the paper's analyses, each with its numbers beside its figure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jepa_vlm.cli import analyse_embeddings
from jepa_vlm.cli.data_check import model_that_counts, surveyed
from jepa_vlm.cli.output import SPEC, Json, columns, quiet_stdout, written

if TYPE_CHECKING:
    from jepa_vlm.analysis.latent_steps import AccuracyBySteps, Control, Decoded

app = typer.Typer(no_args_is_help=True, help="The paper's analyses: data, CSV and JSON, and a figure of each.")
analyse_embeddings.register(app)
Output = Annotated[Path, typer.Option(help="The folder for figure and numbers.")]


@app.command("latent-counts")
def latent_counts(
    spec: Annotated[str, SPEC],
    output: Output = Path("analysis"),
    inference: Annotated[str, typer.Option(help="Fixed numbers of latent steps to compare with.")] = "4,8,16",
    backbone: Annotated[str | None, typer.Option(help="Whose tokens are counted.")] = None,
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
        from jepa_vlm.analysis.files import write_analysis
        from jepa_vlm.analysis.latent_counts import latent_counts as counted
        from jepa_vlm.analysis.latent_counts_figure import latent_counts_figure
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
        )
    rows = [("SOURCE", "UNIT", "COUNT", "MEDIAN", "P95", "MAX", *(f"ABOVE {n}" for n in sorted(set(steps))))]
    for name, one in found.items():
        for unit in ("call", "example"):
            own = one.summary()[f"per_{unit}"]
            shares = (f"{share:.1%}" for share in own["share_above"].values())
            rows.append((name, unit, *(str(own[key]) for key in ("count", "median", "p95", "max")), *shares))
    written(json, summary, columns(rows), paths)


@app.command("latent-steps")
def latent_steps(
    evaluations: Annotated[
        list[str], typer.Argument(help="STEPS=FILE, or STEPS:noise=FILE, STEPS:dropped=FILE: saved evaluations.")
    ],
    output: Output = Path("analysis"),
    scoring: Annotated[str | None, typer.Option(help="Which scoring; the first file's headline if not given.")] = None,
    json: Json = False,
) -> None:
    """Draw accuracy against the number of latent tokens, beside noise and dropped latents (Figure 3).

    Examples:
        jepa-vlm analyse latent-steps 0=plain.json 8=own.json 8:noise=noise.json 8:dropped=dropped.json
    """
    with quiet_stdout():
        from jepa_vlm.analysis.files import write_analysis
        from jepa_vlm.analysis.latent_steps import accuracy_by_steps
        from jepa_vlm.analysis.latent_steps_figure import latent_steps_figure

        found = accuracy_by_steps([_decoded(given) for given in evaluations], scoring=scoring)
        summary = found.summary()
        paths = write_analysis(
            output, "latent-steps", summary=summary, table=found.table(), figure=latent_steps_figure(found)
        )
    written(json, summary, _steps_text(found), paths)


def _whole_numbers(text: str) -> list[int]:
    if not re.fullmatch(r"\d+(,\d+)*", text) or not all(map(int, text.split(","))):
        raise typer.BadParameter(f"--inference must be whole numbers of at least 1 with commas between, got {text!r}.")
    return [int(part) for part in text.split(",")]


def _decoded(given: str) -> Decoded:
    from jepa_vlm.analysis.latent_steps import CONTROLS, Decoded
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
        tests = ("" if test is None else f"{test.p_value:.3g}" for test in (point.against_real, point.against_plain))
        ran = "" if point.ran is None else f"{point.ran:.1%}"
        rows.append(
            (
                str(point.steps),
                point.control,
                f"{one.value:.1%}",
                f"[{one.low:.1%}, {one.high:.1%}] n={one.n}",
                ran,
                *tests,
            )
        )
    slope = found.slope
    said = (
        ""
        if slope is None
        else (
            f"\n\nEach doubling changes accuracy by {100 * slope.value:+.2f} points "
            f"[{100 * slope.low:+.2f}, {100 * slope.high:+.2f}]."
        )
    )
    return columns(rows) + said
