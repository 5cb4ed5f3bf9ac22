"""``jepa-vlm evaluate``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from jepa_vlm.cli.accuracy import accuracy_text, beside_paper_text, comparison_text
from jepa_vlm.cli.output import Json, quiet_stdout, write, write_json
from jepa_vlm.errors import UnknownNameError

if TYPE_CHECKING:
    from jepa_vlm.evaluation import Evaluation, McNemar
    from jepa_vlm.recipe import LatentDecoding, Opening
    from jepa_vlm.runs.questions import Questions


Scoring = Literal["letter-logits", "short", "free", "tools"]
SCORINGS: tuple[Scoring, ...] = ("letter-logits", "short", "free", "tools")
IN_PAPER = ("vstar", "mmvp", "blink")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(evaluate)


def evaluate(
    model: Annotated[str, typer.Argument(help="A run, a checkpoint, a model folder, or a name of `backbones`.")],
    against: Annotated[str | None, typer.Option(help="A second model, compared item by item with the first.")] = None,
    on: Annotated[
        list[str] | None,
        typer.Option(
            help="Benchmarks: playground, playground:TASK, vstar:PATH, mmvp:PATH, blink:PATH; commas, or again."
        ),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(help="Protocol of vstar, mmvp and blink: pearl-paper (the default), lvr, lmms-eval, ..."),
    ] = None,
    scoring: Annotated[
        list[str] | None, typer.Option(help=f"{', '.join(SCORINGS)}; may repeat; the model's own.")
    ] = None,
    questions: Annotated[
        int | None, typer.Option(min=1, help="Number of questions; 512 of the playground, else all.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the questions.")] = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Questions per forward.")] = 16,
    latents: Annotated[
        int | None,
        typer.Option(min=0, help="Number of latent steps before an answer; 0 for none, the recipe's own if not given."),
    ] = None,
    leave: Annotated[
        Literal["count", "end"] | None,
        typer.Option(
            help="End of latent steps: after --latents, or at END (--latents at most); if not given, the recipe's."
        ),
    ] = None,
    entry: Annotated[
        Literal["forced", "model"] | None,
        typer.Option(help="Whether latent steps are forced, or the model decides; if not given, the recipe's."),
    ] = None,
    control: Annotated[
        Literal["none", "noise", "dropped"], typer.Option(help="Control that is fed in place of latent states.")
    ] = "none",
    output: Annotated[
        Path | None,
        typer.Option(help="A folder for the answers, item by item; answers that it holds are kept."),
    ] = None,
    beside_paper: Annotated[
        bool, typer.Option("--beside-paper", help="Print the rows of Pearl's tables beside the accuracies.")
    ] = False,
    json: Json = False,
) -> None:
    """Ask held-out questions and print the accuracy with its 95% interval.

    With --against, a second model answers the same questions, and the exact McNemar test says whether they differ.
    """
    named = benchmarks_named(on or ["playground"])
    if beside_paper and all(spec.partition(":")[0] not in IN_PAPER for spec in named):
        raise typer.BadParameter(f"--beside-paper needs one of {', '.join(IN_PAPER)} in --on, got {', '.join(named)}.")
    scorings = [scoring_named(name) for name in dict.fromkeys(scoring or [])]
    with quiet_stdout():
        from jepa_vlm import evaluation
        from jepa_vlm.runs.questions import own_opening, questions_of

        sets = [questions_of(spec, protocol=protocol, scorings=scorings, count=questions, seed=seed) for spec in named]
        for note in (note for one in sets for note in one.notes):
            typer.echo(note, err=True)
        models = [model] if against is None else [model, against]
        sets = sets if scorings else [one.read_as(models) for one in sets]
        opening = next((own for own in map(own_opening, models) if own is not None), None)  # both under the same limit

        def asked(name: str, folder: Path | None) -> dict[str, Evaluation]:
            decoding = decoding_named(name, steps=latents, leave=leave, entry=entry, control=control)
            return ask(name, sets, seed=seed, batch_size=batch_size, output=folder, latents=decoding, opening=opening)

        first = asked(model, output)
        second = {} if against is None else asked(against, None if output is None else output / "against")
        tests: dict[str, dict[str, McNemar]] = {
            spec: {
                name: evaluation.compare(first[spec], second[spec], scoring=name).test for name in first[spec].scorings
            }
            for spec in second
        }
        paper = evaluation.beside_paper(list(first.values())) if beside_paper else None
    if json:
        found: dict[str, Any] = {"model": model, "accuracy": {spec: one.summary() for spec, one in first.items()}}
        if against is not None:
            accuracy = {spec: one.summary() for spec, one in second.items()}
            mcnemar = {spec: {name: asdict(test) for name, test in some.items()} for spec, some in tests.items()}
            found["against"] = {"model": against, "accuracy": accuracy, "mcnemar": mcnemar}
        if paper is not None:
            found["paper"] = paper.to_json()
        write_json(found)
        return
    write(accuracy_text(first))
    if paper is not None:
        write(f"\nBeside the paper, in percent\n\n{beside_paper_text(paper)}")
    if against is not None:
        write(f"\nAgainst {against}\n\n{accuracy_text(second)}\n\n{comparison_text(tests)}")


def benchmarks_named(given: Sequence[str]) -> list[str]:
    """Return the specs of a repeated option whose values may be comma-separated lists."""
    from jepa_vlm.evaluation import file_stem, split_specs

    specs = list(dict.fromkeys(spec for text in given for spec in split_specs(text)))
    stems = [file_stem(spec) for spec in specs]
    if twice := [stem for stem in stems if stems.count(stem) > 1]:
        raise typer.BadParameter(f"{twice[0]} is named twice and would write the same files twice; use two commands.")
    return specs


def ask(
    name: str,
    sets: Sequence[Questions],
    *,
    seed: int,
    batch_size: int,
    output: Path | None,
    latents: LatentDecoding | None,
    opening: Opening | None,
) -> dict[str, Evaluation]:
    """Return one model's evaluation by benchmark, and write each into the output folder if there is one."""
    from rich.console import Console
    from rich.progress import Progress

    from jepa_vlm.evaluation import file_stem
    from jepa_vlm.evaluation.scoring import template_notes
    from jepa_vlm.runs import questions

    found, backbone = {}, questions.load_model(name)
    for note in template_notes(backbone, [scoring for one in sets for scoring in one.scorings]):
        typer.echo(f"Note: {note}", err=True)
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as bars:
        for one in sets:
            bar = bars.add_task(file_stem(one.spec), total=len(one.items))
            found[one.spec] = questions.ask(
                backbone,
                one,
                seed=seed,
                batch_size=batch_size,
                output=output,
                latents=latents,
                opening=opening,
                progress=partial(bars.advance, bar),
            )
    return found


def scoring_named(name: str) -> Scoring:
    """Return a scoring, or refuse it before a model is loaded."""
    for known in SCORINGS:
        if name == known:
            return known
    raise UnknownNameError("scoring", name, known=SCORINGS)


def decoding_named(
    model: str,
    *,
    steps: int | None,
    leave: Literal["count", "end"] | None,
    entry: Literal["forced", "model"] | None,
    control: Literal["none", "noise", "dropped"],
) -> LatentDecoding | None:
    """Return how a run's or a folder's model thinks in latent slots, with what the user says of it in place.

    Raises:
        RunError: If latents are asked of a model that was not trained to think in them.
    """
    from jepa_vlm.errors import RunError
    from jepa_vlm.training.merge import find_checkpoint, inference_of

    own = inference_of(find_checkpoint(Path(model))).decoding
    if own is None:
        if steps or leave is not None or entry is not None or control != "none":
            raise RunError(
                f"{model} does not think in latent slots, so --latents, --leave, --entry and --control mean nothing "
                "for it; give a run of lvr, mirage or coconut, or its export."
            )
        return None
    steps = own.steps if steps is None else steps
    return replace(own, steps=steps, leave=leave or own.leave, entry=entry or own.entry, control=control)
