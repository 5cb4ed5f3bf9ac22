"""``jepa-vlm analyse``: the paper's analyses, each with its numbers beside its figure."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from jepa_vlm.cli import analyse_embeddings, analyse_steps
from jepa_vlm.cli.analyse_steps import Output, whole_numbers
from jepa_vlm.cli.data_check import model_that_counts, surveyed
from jepa_vlm.cli.output import SPEC, Json, columns, quiet_stdout, written

app = typer.Typer(no_args_is_help=True, help="Analyses of the paper: numbers as JSON and CSV, and a figure, of each.")
analyse_embeddings.register(app)
analyse_steps.register(app)


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
    steps = whole_numbers(inference)
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
            command=("jepa-vlm", *sys.argv[1:]),
        )
    rows = [("SOURCE", "UNIT", "COUNT", "MEDIAN", "P95", "MAX", *(f"ABOVE {n}" for n in sorted(set(steps))))]
    for name, one in found.items():
        for unit in ("call", "example"):
            own = one.summary()[f"per_{unit}"]
            shares = (f"{share:.1%}" for share in own["share_above"].values())
            rows.append((name, unit, *(str(own[key]) for key in ("count", "median", "p95", "max")), *shares))
    written(json, summary, columns(rows), paths)
