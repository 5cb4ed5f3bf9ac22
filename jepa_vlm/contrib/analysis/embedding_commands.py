"""``jepa-vlm analyse embeddings`` and ``analyse collapse``: both views' embeddings of held-out trajectories."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from jepa_vlm.cli.output import Json, columns, progress_bar, quiet_stdout, written
from jepa_vlm.errors import DataError

if TYPE_CHECKING:
    from jepa_vlm.contrib.analysis.agreement import Agreement
    from jepa_vlm.contrib.analysis.embeddings import Embeddings
    from jepa_vlm.views import Readout

Output = Annotated[Path, typer.Option(help="The folder for figure and numbers.")]
MODELS = typer.Argument(help="Runs, checkpoints, model folders, names of `backbones`, or .safetensors of embeddings.")
Data = Annotated[
    str | None, typer.Option(help="Data whose held-out part is encoded; the first run's own data if not given.")
]
Count = Annotated[int, typer.Option(min=2, help="Most held-out trajectories.")]
MinCalls = Annotated[int, typer.Option(min=0, help="Fewest tool calls of a trajectory that is encoded.")]
ReadoutOption = Annotated[
    Literal["last_token", "turn_end", "mean"] | None,
    typer.Option(help="Readout for every model; if not given, each model's own prediction, if it has one."),
]
BatchSize = Annotated[int, typer.Option(min=1, help="Trajectories per forward.")]
Seed = Annotated[int, typer.Option(min=0, help="Random seed of a playground's draws and of t-SNE.")]
FIGURES = ("alignment", "recall_at_1", "recall_at_5", "alignment_within_task", "recall_at_1_within_task")
WITHIN = ("alignment_within_kind", "recall_at_1_within_kind", "explained_within_kind", "explained_centred_within_kind")
SILHOUETTES = ("silhouette_predicted", "silhouette_target", "silhouette_both", "silhouette_views")


def embeddings(
    models: Annotated[list[str], MODELS],
    output: Output = Path("analysis"),
    data: Data = None,
    count: Count = 256,
    min_calls: MinCalls = 1,
    readout: ReadoutOption = None,
    perplexity: Annotated[float | None, typer.Option(min=1, help="Perplexity of t-SNE; 30 if not given.")] = None,
    batch_size: BatchSize = 8,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Map both views' embeddings by task (t-SNE, Figure 4), with alignment, retrieval and silhouettes in numbers.

    With several models, the first is compared with each other one, example by example.

    Examples:
        jepa-vlm analyse embeddings runs/pearl runs/sft --readout last_token
        jepa-vlm analyse embeddings runs/pearl --data thinkmorph:/data/ThinkMorph
    """
    with quiet_stdout():
        from jepa_vlm.contrib.analysis.agreement import agreement
        from jepa_vlm.contrib.analysis.analysis_files import write_analysis, write_table
        from jepa_vlm.contrib.analysis.embedding_map import embedding_figure, embedding_map

        sets = embedded(
            models, data=data, count=count, min_calls=min_calls, readout=readout, batch_size=batch_size, seed=seed
        )
        if perplexity is not None and perplexity >= (points := min(2 * len(one.ids) for one in sets)):
            raise typer.BadParameter(
                f"--perplexity must be less than the {points} points of the map, got {perplexity:g}."
            )
        numbers = [agreement(one) for one in sets]
        maps = [embedding_map(one, perplexity=perplexity, seed=seed) for one in sets]
        first, *others = numbers
        summary = {
            "models": [one.summary() for one in numbers],
            "maps": [{"name": m.name, "perplexity": m.perplexity, "seed": m.seed, "kl": m.divergence} for m in maps],
            "first_minus": {
                other.name: {figure: first.difference(other, figure)._asdict() for figure in first.values}
                for other in others
            },
        }
        paths = write_analysis(
            output,
            "embeddings",
            summary=summary,
            table=[row for one in maps for row in one.table()],
            figure=embedding_figure(maps, numbers),
            command=("jepa-vlm", *sys.argv[1:]),
        )
        each = write_table(output / "agreement.csv", [row for one in numbers for row in one.table()])
        held = [output / (re.sub(r"[^\w.-]+", "-", one.name) + ".safetensors") for one in sets]
        for one, path in zip(sets, held, strict=True):
            one.save(path)
    written(json, summary, f"{_agreement_text(numbers)}\n\n{_found_text(sets)}", (*paths, each, *held))


def collapse(
    models: Annotated[list[str], MODELS],
    output: Output = Path("analysis"),
    data: Data = None,
    count: Count = 256,
    min_calls: MinCalls = 1,
    readout: ReadoutOption = None,
    batch_size: BatchSize = 8,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Draw spectrum and spread of both views' embeddings: what a collapsed latent space shows.

    Examples:
        jepa-vlm analyse collapse runs/pearl
    """
    with quiet_stdout():
        from jepa_vlm.contrib.analysis.analysis_files import write_analysis
        from jepa_vlm.contrib.analysis.collapse import collapse as panel
        from jepa_vlm.contrib.analysis.collapse import collapse_figure

        found = [
            panel(one)
            for one in embedded(
                models, data=data, count=count, min_calls=min_calls, readout=readout, batch_size=batch_size, seed=seed
            )
        ]
        summary = {"models": [one.summary() for one in found]}
        paths = write_analysis(
            output,
            "collapse",
            summary=summary,
            table=[row for one in found for row in one.table()],
            figure=collapse_figure(found),
            command=("jepa-vlm", *sys.argv[1:]),
        )
    rows: list[Sequence[str]] = [("MODEL", "SIDE", "EFFECTIVE RANK", "RANKME", "MEAN COSINE", "MEAN STD", "LEAST STD")]
    for one in found:
        for name, side in one.sides.items():
            own = side.summary()
            rank = f"{own['effective_rank']:.1f} of {min(one.examples - 1, one.dim)}"
            rest = (f"{own[key]:.3g}" for key in ("mean_pairwise_cosine", "std_mean", "std_min"))
            rows.append((one.name, name, rank, f"{own['rank_me']:.1f}", *rest))
    written(json, summary, columns(rows), paths)


def embedded(
    models: Sequence[str],
    *,
    data: str | None,
    count: int,
    min_calls: int,
    readout: Readout | None,
    batch_size: int,
    seed: int,
) -> list[Embeddings]:
    """Return each model's embeddings of the same held-out trajectories; those in files are as they were saved."""
    from jepa_vlm.contrib.analysis.embedding_reader import open_reader
    from jepa_vlm.contrib.analysis.embeddings import Embeddings, embed
    from jepa_vlm.runs.data import held_out_trajectories

    found, trajectories = [], None
    for named in models:
        if named.endswith(".safetensors"):
            found.append(Embeddings.load(Path(named)))
            continue
        reader = open_reader(named, readout=readout)
        if trajectories is None:
            spec = data or reader.data
            if spec is None:
                raise DataError(f"{named} is of no run, so it has no data of its own; name some with --data.")
            recorded = None if data else reader.digests
            trajectories, passed = held_out_trajectories(
                spec, count=count, seed=seed, min_calls=min_calls, recorded=recorded
            )
            typer.echo(f"{len(trajectories)} held-out trajectories of {spec}; {passed} passed over.", err=True)
        with progress_bar(len(trajectories)) as advance:
            one = embed(
                reader.model,
                trajectories,
                name=reader.name,
                readout=reader.readout,
                batch_size=batch_size,
                progress=advance,
            )
        found.append(one)
    if len({one.name for one in found}) < len(found):
        found = [replace(one, name=named) for one, named in zip(found, models, strict=True)]
    if len({one.readout for one in found}) > 1:
        said = "; ".join(f"{one.name}: {one.readout}" for one in found)
        typer.echo(f"The models are read in different ways ({said}); --readout reads them alike.", err=True)
    return found


def _agreement_text(numbers: Sequence[Agreement]) -> str:
    """Return a line for each figure, a column for each model."""
    rows = [("FIGURE", "CHANCE", *(f"{one.name} ({one.readout})" for one in numbers))]
    for figure in (*FIGURES, *WITHIN, *SILHOUETTES):
        cells = []
        for one in numbers:
            share = figure.startswith(("recall", "explained"))
            shown = "-" if figure not in one.values else _interval(one, figure, share=share)
            cells.append(shown)
        chance = numbers[0].chance.get(figure)
        rows.append((figure, "" if chance is None else f"{chance:.1%}", *cells))
    return columns(rows)


def _found_text(sets: Sequence[Embeddings]) -> str:
    """Say of each model what its predictions know of an example, and how many examples show it."""
    from jepa_vlm.training.monitors import in_words, within_kinds

    lines = []
    for one in sets:
        found = within_kinds(one.predicted, one.target, one.kinds, by_direction=one.by_direction)
        basis = "{compared:g} examples of {kinds:g} kinds compared, {alone:g} alone in theirs".format(**found)
        lines.append(f"{one.name}: {in_words({}, found)} ({basis}.)")
    return "\n".join(lines)


def _interval(one: Agreement, figure: str, *, share: bool) -> str:
    value, low, high = (f"{part:.1%}" if share else f"{part:+.3f}" for part in one.estimate(figure))
    return f"{value} [{low}, {high}]"
