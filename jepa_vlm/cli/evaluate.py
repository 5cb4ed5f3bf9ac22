"""``jepa-vlm evaluate``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from jepa_vlm.cli.output import Json, columns, quiet_stdout, write, write_json
from jepa_vlm.errors import UnknownNameError

if TYPE_CHECKING:
    from jepa_vlm.evaluation import BesidePaper, Evaluation, McNemar
    from jepa_vlm.generation import Answering
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
        from jepa_vlm.generation.answering import under_one_limit
        from jepa_vlm.runs.questions import questions_of

        sets = [questions_of(spec, protocol=protocol, scorings=scorings, count=questions, seed=seed) for spec in named]
        for note in (note for one in sets for note in one.notes):
            typer.echo(note, err=True)
        models = [model] if against is None else [model, against]
        sets = sets if scorings else [one.read_as(models) for one in sets]
        changes = {"steps": latents, "leave": leave, "entry": entry, "control": None if control == "none" else control}
        answerings = under_one_limit([answering_named(name, **changes) for name in models])
        first = ask(model, sets, seed=seed, batch_size=batch_size, output=output, answering=answerings[0])
        second = {}
        if against is not None:
            folder = None if output is None else output / "against"
            second = ask(against, sets, seed=seed, batch_size=batch_size, output=folder, answering=answerings[1])
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
    answering: Answering,
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
                answering=answering,
                progress=partial(bars.advance, bar),
            )
    return found


def scoring_named(name: str) -> Scoring:
    """Return a scoring, or refuse it before a model is loaded."""
    for known in SCORINGS:
        if name == known:
            return known
    raise UnknownNameError("scoring", name, known=SCORINGS)


def answering_named(model: str, **latents: Any) -> Answering:
    """Return how a run's or a folder's model answers, with what the user says of its latent steps in place.

    Args:
        model: A run, a checkpoint, a model folder, or a name of ``backbones``.
        **latents: Fields of ``Latents``; None leaves one as it is.

    Raises:
        RunError: If latent steps are asked of a model that was not trained with them.
    """
    from jepa_vlm.errors import RunError
    from jepa_vlm.runs.questions import own_answering

    own, changes = own_answering(model), {name: value for name, value in latents.items() if value is not None}
    changed = own.with_latents(**changes)
    if changed is None and changes not in ({}, {"steps": 0}):
        raise RunError(
            f"{model} takes no latent steps, so --latents, --leave, --entry and --control mean nothing for it; give a "
            "run of lvr, mirage or coconut, or its export."
        )
    return changed or own


def accuracy_text(found: Mapping[str, Evaluation]) -> str:
    """Return accuracies as a table; a benchmark of several tasks gets a line for each, one of pairs a line for them."""
    rows = []
    for spec, evaluation in found.items():
        for scored in evaluation.scored:
            rules = scored.protocol.name
            how = scored.protocol.scoring if rules.startswith("jepa-vlm") else f"{scored.protocol.scoring} ({rules})"
            lines = [("all", scored.overall)]
            lines += scored.tasks.items() if len(scored.tasks) > 1 else ()
            lines += [] if scored.groups is None else [("whole groups", scored.groups)]
            for task, one in lines:
                sure = f"[{one.low:.1%}, {one.high:.1%}] n={one.n}"
                unreadable = f"{scored.parse_failure_rate:.1%}" if task == "all" else ""
                rows.append((spec, how, task, f"{one.value:.1%}", sure, unreadable))
    table = columns([("BENCHMARK", "SCORING", "TASK", "ACCURACY", "INTERVAL", "UNREADABLE"), *rows])
    scorings = [(spec, scored) for spec, evaluation in found.items() for scored in evaluation.scored]
    used = [
        f"{spec}: " + ", ".join(f"{name} {count:,}" for name, count in scored.tool_use.items())
        for spec, scored in scorings
        if scored.tool_use is not None
    ]
    thought = [
        f"{spec}, {scored.protocol.scoring}: {scored.protocol.latents}; the latent path ran in "
        f"{scored.latent_use['answers']} of {scored.overall.n} answers, {scored.latent_use['steps']:,} steps in all"
        for spec, scored in scorings
        if scored.latent_use is not None
    ]
    opened = [
        f"{spec}, {scored.protocol.scoring}: written whole in {scored.opening_use['whole']} of {scored.overall.n} "
        f"answers, some of it in {scored.opening_use['some']}"
        for spec, scored in scorings
        if scored.opening_use is not None
    ]
    told = {"Tools": used, "Latents": thought, "Response prefix": opened}
    return "\n".join([table, *(line for title, lines in told.items() if lines for line in ("", title, *lines))])


def beside_paper_text(found: BesidePaper) -> str:
    """Return what was measured beside the paper's rows, and what stands against a comparison."""
    return "\n".join([columns(found.table()), "", *found.remarks])


def comparison_text(tests: Mapping[str, Mapping[str, McNemar]]) -> str:
    """Return what the exact McNemar tests say, as a table."""
    rows = [
        (spec, name, str(test.only_a), str(test.only_b), str(test.n), f"{test.p_value:.3g}")
        for spec, some in tests.items()
        for name, test in some.items()
    ]
    titles = ("BENCHMARK", "SCORING", "ONLY FIRST RIGHT", "ONLY SECOND RIGHT", "OF", "EXACT MCNEMAR P (TWO-SIDED)")
    return columns([titles, *rows])
