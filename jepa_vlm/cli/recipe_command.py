"""``jepa-vlm recipe``, one run from start to end, and ``jepa-vlm recipes``, the list of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from jepa_vlm.cli.options import takes_options
from jepa_vlm.cli.output import Json, columns, quiet_stdout, write, write_json
from jepa_vlm.errors import JepaVLMError
from jepa_vlm.recipe.files import RecipeFile, check_parameters, describe_recipe, list_recipes
from jepa_vlm.runs.settings import RunSettings, overruled

if TYPE_CHECKING:
    from jepa_vlm.runs import Plan, RunResult


class RecipeCommand(TyperCommand):
    """``recipe NAME --help`` ends with that recipe's own parameters, read from its file without running it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Remember which recipe is meant before ``--help`` ends the parsing."""
        ctx.meta["recipe"] = next((word for word in args if not word.startswith("-")), None)
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Add the recipe's parameters."""
        super().format_help(ctx, formatter)
        if ctx.meta.get("recipe"):
            try:
                write(parameters_text(describe_recipe(ctx.meta["recipe"])))
            except JepaVLMError as err:
                write(str(err))


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(cls=RecipeCommand)(recipe)
    app.command()(recipes)


@takes_options("settings", RunSettings)
def recipe(
    name: Annotated[str, typer.Argument(help="A shipped recipe, or a path to a .py file.")],
    settings: dict[str, Any],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the resolved run and stop.")] = False,
    json: Json = False,
) -> None:
    """Train with a recipe, evaluate before and after, export, report. Without options: the bundled default."""
    given = RunSettings(**settings, command=_command())
    check_parameters(describe_recipe(name), given.parameters or {})  # a misspelt one is refused before torch is loaded
    with quiet_stdout():
        from jepa_vlm.runs import plan_run, start_run

        plan = plan_run(name, given) if dry_run else None
        result = start_run(name, given) if plan is None else None
    if plan is not None:
        write_json(plan.config()) if json else write(plan_text(plan))
    elif result is not None and _first_process():
        write(result.to_json()) if json else write(result_text(result))


def _first_process() -> bool:
    from jepa_vlm.runs.environment import rank

    return rank() == 0


def _command() -> tuple[str, ...]:
    """Return the command line that began this run; under torchrun, torchrun's."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    begin = ("jepa-vlm",) if here == 1 else ("torchrun", "--nproc_per_node", str(here), "-m", "jepa_vlm.cli")
    return (*begin, *sys.argv[1:])


def recipes(json: Json = False) -> None:
    """List the shipped recipes and their parameters."""
    found = list_recipes()
    if json:
        write_json({"recipes": [{**asdict(file), "summary": file.summary} for file in found]})
        return
    write(columns([(file.name, file.summary) for file in found]))
    write("\nParameters of one: jepa-vlm recipe NAME --help.  A recipe of your own: jepa-vlm recipe PATH.py")


def parameters_text(file: RecipeFile) -> str:
    """Return a recipe's own parameters as text."""
    rows = [(f"--set {p.name}={p.default}", p.annotation) for p in file.parameters]
    table = columns(rows, indent="  ") if rows else "  none"
    return f"Recipe {file.name!r}\n\n{file.docstring}\n\nIts parameters, with their defaults:\n{table}"


def plan_text(plan: Plan) -> str:
    """Return a plan: every value with its origin, what trains, how long trajectories are, what memory is held."""
    values = [(name, _shown(plan, name, entry.value), entry.origin) for name, entry in plan.values.items()]
    trained = [(part.name, f"{part.modules:,}", f"{part.trainable:,}", f"{part.frozen:,}") for part in plan.parts]
    memory = ", ".join(f"{name} {size / 2**20:,.1f} MiB" for name, size in plan.memory().items())
    return "\n".join(
        [
            columns([("VALUE", "", "FROM"), *values]),
            "",
            columns([("PART", "MODULES", "TRAINED", "FROZEN"), *trained]),
            "",
            *(f"overruled  {line}" for line in overruled(plan.values, plan["backbone"])),
            f"objective  {plan.model.objective.extra_repr()}",
            f"examples   {len(plan.train.kept)} to train on, {len(plan.validation.kept)} held out ({plan.data.rule})",
            *(f"           {line}" for line in plan.scanned.lines()),
            f"tokens     longest view: {plan.tokens['mean']:g} on average, {plan.tokens['max']:g} at most, "
            f"over {plan.tokens['of']:g} examples",
            f"memory     {memory}",
            f"           {_about_memory(plan)}",
            *_batches(plan),
            *_rows(plan),
            *_stored(plan),
            *(f"note       {note}" for note in plan.notes),
        ]
    )


def _shown(plan: Plan, name: str, value: Any) -> str:
    """Return a value as a line can hold it."""
    if name == "decoding":
        return str(plan.recipe.answering)
    if name == "stages":
        return ", ".join(f"{stage.name} ({stage.share:.0%})" for stage in plan.recipe.stages)
    return str(value)


def _batches(plan: Plan) -> list[str]:
    """Say how a budget of tokens cuts the training set."""
    if plan.filling is None:
        return []
    found = plan.filling
    line = (
        f"batches    {found.micro_batches} micro-batches a pass, {found.share:.0%} of {found.budget} tokens on average"
    )
    return [line, f"           {found.warning}"] if found.warning else [line]


def _rows(plan: Plan) -> list[str]:
    """Say how many trajectories have what a term needs, and what does not suit."""
    return [
        *(
            f"rows       {name}: {one.train} to train on and {one.validation} held out have {one.needs}"
            for name, one in plan.term_rows.items()
        ),
        *(f"warning    {line}" for line in plan.warnings),
    ]


def _stored(plan: Plan) -> list[str]:
    """Say which cached targets are there already."""
    return [
        f"targets    {store.folder}: "
        + (f"{len(store)} stored" if store.is_complete() else "the run computes them first")
        for store in plan.model.target_stores.values()
    ]


def _about_memory(plan: Plan) -> str:
    step, unknown = plan.step
    if step is None:
        return f"activations come on top; they are not estimated: {unknown}"
    return (
        f"an estimate, without what CUDA takes for itself; the micro-batch is the {plan['batch_size']} longest of "
        f"{plan.tokens['of']:g} examples"
    )


def result_text(result: RunResult) -> str:
    """Return a result: loss terms, accuracy before and after with intervals, folders, and what to do next."""
    terms = [(name, f"{term['first']:.4g}", f"{term['best']:.4g}") for name, term in result.terms.items()]
    lines = [columns([("HELD-OUT TERM", "BEFORE", f"BEST (step {result.best_step})"), *terms])]
    lines += _monitors(result.monitors, result.findings)
    if result.accuracy:
        lines += ["", columns([("ACCURACY", "BEFORE", "AFTER"), *_accuracy(result.accuracy)])]
        lines += _opened(result.accuracy)
    if "other_entry" in result.accuracy:
        own, other = result.accuracy["after"], result.accuracy["other_entry"]
        ran = [("LATENT PATH", "ANSWERS IN WHICH IT RAN", "ACCURACY")]
        ran += [
            (name, f"{one['latent_use']['answers']} of {one['overall']['n']}", _interval(one["overall"]))
            for name, one in (
                ("the recipe's entry", next(iter(own.values()))),
                ("the other one", next(iter(other.values()))),
            )
        ]
        lines += ["", columns(ran)]
    plain = result.terms.keys() == {"next_token"}  # the baseline's counterpart is the full method, and the other way
    lines += [
        "",
        columns([("run", result.run), ("export", result.export), ("report", result.report or "not written")]),
        "",
        "Next:",
        f"  jepa-vlm evaluate {result.run} --on playground",
        f"  jepa-vlm recipe {'pearl' if plain else 'sft'}",
        "  jepa-vlm data show playground:sequential-crops",
    ]
    return "\n".join(lines)


WITHIN = (  # of the figures within kinds: what a line is called, and how its value is shown
    ("matched - shuffled cosine", "cosine_within_kind", "+.4f"),
    ("own target nearest", "recall_at_1_within_kind", ".1%"),
    ("  by guessing", "chance_at_1_within_kind", ".1%"),
    ("variance explained", "explained_within_kind", ".1%"),
    ("  the kinds' means off", "explained_centred_within_kind", ".1%"),
    ("spread of the predictions", "predicted_norm_within_kind", ".3g"),
    ("spread of the targets", "target_norm_within_kind", ".3g"),
)


def _monitors(monitors: Mapping[str, Mapping[str, Mapping[str, float]]], findings: Mapping[str, str]) -> list[str]:
    """Return what predictions know of an example within its kind, and of the kind; and what others' maps cost more."""
    lines, losses = [], []
    for term, monitor in monitors.items():
        pair = monitor["first"], monitor["best"]
        if "kinds" in pair[1]:
            lines += ["", columns([(term.upper(), "BEFORE", "BEST"), *_within(pair)]), findings[term]]
        for name in pair[1]:
            if name.startswith("matched_loss_"):
                part = name.removeprefix("matched_loss_")
                more = (f"{one[f'shuffled_loss_{part}'] - one[name]:+.4f}" for one in pair)
                losses.append((f"{term}, {part} ({pair[1][f'compared_{part}']:g} examples)", *more))
    if losses:
        lines += ["", columns([("ANOTHER IMAGE OF THE SAME KIND COSTS MORE BY", "BEFORE", "BEST"), *losses])]
    return lines


def _within(pair: tuple[Mapping[str, float], ...]) -> list[tuple[str, ...]]:
    """Return a row for each figure within kinds, and one for the cosines of all kinds together."""
    now = pair[1]
    alone = f", {now['alone']:g} left out that are alone in theirs" if now["alone"] else ""
    rows: list[tuple[str, ...]] = [(f"within a kind ({now['compared']:g} in {now['kinds']:g} kinds{alone}):", "", "")]
    for label, key, shown in WITHIN:
        values = [_gap(one, key) if key.startswith("cosine") else one.get(key) for one in pair]
        if values[1] is not None:
            rows.append((f"  {label}", *("-" if value is None else format(value, shown) for value in values)))
    between = [_gap(one, "cosine") for one in pair]
    if between[1] is not None:
        rows.append(("between kinds (all examples together):", "", ""))
        rows.append(("  matched - shuffled cosine", *("-" if x is None else f"{x:+.4f}" for x in between)))
    return rows


def _gap(found: Mapping[str, float], quantity: str) -> float | None:
    matched, shuffled = found.get(f"matched_{quantity}"), found.get(f"shuffled_{quantity}")
    return None if matched is None or shuffled is None else matched - shuffled


def _accuracy(accuracy: Any) -> list[tuple[str, str, str]]:
    before, after = accuracy["before"], accuracy["after"]
    rows = []
    for scoring, scored in before.items():
        rows.append((f"{scoring}, all", _overall(scored), _overall(after[scoring])))
        if len(scored["tasks"]) > 1:
            rows += [
                (f"{scoring}, {task}", _interval(one), _interval(after[scoring]["tasks"][task]))
                for task, one in scored["tasks"].items()
            ]
    return rows


def _opened(accuracy: Any) -> list[str]:
    """Say in how many answers what the recipe writes first was written, where it writes something first."""
    rows = [
        (
            scoring,
            *(
                f"{one['opening_use']['whole']} of {one['overall']['n']}"
                for one in (scored, accuracy["after"][scoring])
            ),
        )
        for scoring, scored in accuracy["before"].items()
        if "opening_use" in scored
    ]
    return ["", columns([("OPENING WRITTEN WHOLE", "BEFORE", "AFTER"), *rows])] if rows else []


def _overall(scored: Any) -> str:
    unreadable = scored["parse_failure_rate"]
    return _interval(scored["overall"]) + (f", {unreadable:.0%} unreadable" if unreadable else "")


def _interval(accuracy: Any) -> str:
    return f"{accuracy['value']:.1%} [{accuracy['low']:.1%}, {accuracy['high']:.1%}] n={accuracy['n']}"
