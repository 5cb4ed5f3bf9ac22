"""What a run measures and leaves behind: accuracy before and after, the merged model, the report."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from jepa_vlm.errors import JepaVLMError
from jepa_vlm.evaluation import Evaluation, evaluate, load_benchmark
from jepa_vlm.generation.letters import SCORINGS
from jepa_vlm.playground import World
from jepa_vlm.report.recorded_run import save_examples
from jepa_vlm.report.run_report import write_run_report
from jepa_vlm.runs.folder import RunFolder
from jepa_vlm.runs.measured import Spent
from jepa_vlm.runs.plan import Plan
from jepa_vlm.runs.result import RunResult, held_out_findings, held_out_monitors, held_out_terms
from jepa_vlm.training import ObjectiveTrainer, export
from jepa_vlm.training.metrics import read_metrics
from jepa_vlm.trajectories.data_spec import parse_spec

EXAMPLES = 6


def measure(plan: Plan, path: Path, console: Console, when: str, *, keep: bool) -> Evaluation | None:
    """Ask the data's questions and write the answers down; return None if the data has none.

    Args:
        plan: Of the run.
        path: The evaluation's file.
        console: Where the accuracy is told.
        when: ``before``, by the backbone's own generation, or ``after``, as the recipe says.
        keep: Whether a file that is there already will do.
    """
    benchmark = plan.data.benchmark
    if benchmark is None or not plan["questions"]:
        return None
    if keep and path.is_file():
        found = Evaluation.from_json(path)
    else:
        answering = plan.recipe.answering if when == "after" else plan.recipe.answering.untrained
        items = load_benchmark(benchmark, count=plan["questions"], seed=plan["seed"])
        found = evaluate(
            plan.backbone,
            items,
            scorings=[name for name in dict.fromkeys((answering.scoring(SCORINGS[0]), *SCORINGS)) if name in SCORINGS],
            benchmark=benchmark,
            seed=plan["seed"],
            answering=answering,
        )
        found.to_json(path)
    overall = found.scored[0].overall
    console.print(
        f"accuracy {when}: {overall.value:.1%}  (95% interval {overall.low:.1%} to {overall.high:.1%}, "
        f"{overall.n} questions, chance {overall.chance:.1%})"
    )
    if (use := found.scored[0].opening_use) is not None:
        console.print(
            f"response prefix {when}: written whole in {use['whole']} of {overall.n} answers, "
            f"some of it in {use['some']}"
        )
    return found


def measure_other_entry(plan: Plan, path: Path, console: Console) -> dict[str, Any]:
    """Ask again with the other way into the latent path than the recipe's; return the accuracy, {} without any.

    Args:
        plan: Of the run.
        path: The evaluation's file.
        console: Where it is told how often the latent path ran.
    """
    benchmark, own = plan.data.benchmark, plan.recipe.answering
    entry = "model" if own.forced else "forced"
    other = own.with_latents(entry=entry) if own.latents else None
    if benchmark is None or not plan["questions"] or other is None:
        return {}
    items = load_benchmark(benchmark, count=plan["questions"], seed=plan["seed"])
    found = evaluate(plan.backbone, items, benchmark=benchmark, seed=plan["seed"], answering=other)
    found.to_json(path)
    (scored,) = found.scored
    ran = (scored.latent_use or {}).get("answers", 0)
    console.print(
        f"entry {other.entry}: the latent path ran in {ran} of {len(items)}, accuracy {scored.overall.value:.1%}"
    )
    return {"other_entry": found.summary()}


def finish(
    plan: Plan,
    folder: RunFolder,
    trainer: ObjectiveTrainer,
    evaluations: tuple[Evaluation | None, Evaluation | None],
    spent: Spent,
    console: Console,
    entry: Mapping[str, Any],
) -> RunResult:
    """Export the best checkpoint, write the report, and return the run's result.

    Args:
        plan: Of the run.
        folder: Of the run.
        trainer: After training; its model has the best checkpoint's weights.
        evaluations: Before and after.
        spent: By training.
        console: Where to talk.
        entry: From ``measure_other_entry``.
    """
    if plan.settings.resume:
        shutil.rmtree(folder.export, ignore_errors=True)
    exported = export(folder.path, to=folder.export)
    told = exported.told()
    if plan["quantize"]:
        told.append("the base was held in 4 bits in training; the export has its weights in full, with the adapter")
    console.print("\n  ".join((f"export: {exported.folder}", *told)))
    before, after = evaluations
    if plan.data.benchmark is not None and plan["questions"]:
        _save_examples(plan, folder)
    rows = read_metrics(folder.metrics)
    best = trainer.state.best_global_step or trainer.state.global_step
    monitors = held_out_monitors(rows, best)
    return RunResult(
        run=str(folder.path),
        terms=held_out_terms(rows, best),
        monitors=monitors,
        findings=held_out_findings(monitors),
        accuracy={"before": before.summary(), "after": after.summary(), **entry} if before and after else {},
        best_step=best,
        export=str(folder.export),
        report=_report(folder, console),
        seconds=spent.seconds,
        measured=spent.measured,
    )


def _save_examples(plan: Plan, folder: RunFolder) -> None:
    benchmark, seed = str(plan.data.benchmark), plan["seed"]
    world = replace(World.of(parse_spec(benchmark)), direct_share=0)
    items = load_benchmark(benchmark, count=EXAMPLES, seed=seed)
    save_examples(folder.path, items, world.trajectories(count=EXAMPLES, seed=seed, split="test"))


def _report(folder: RunFolder, console: Console) -> str | None:
    """Write the report; a run does not fail for want of the packages that draw it."""
    try:
        return str(write_run_report(folder.path))
    except JepaVLMError as err:
        console.print(f"No report: {err}")
        return None
