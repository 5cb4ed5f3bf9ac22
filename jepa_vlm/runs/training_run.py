"""``train``: from a recipe to a merged, evaluated, reported model."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import fields, replace
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

from rich.console import Console

from jepa_vlm.adapters.base_folder import check_base
from jepa_vlm.errors import InterruptedRunError, JepaVLMError, RunError
from jepa_vlm.evaluation import Evaluation, evaluate, load_benchmark
from jepa_vlm.generation.letters import SCORINGS
from jepa_vlm.playground import World
from jepa_vlm.recipe import Recipe
from jepa_vlm.report.recorded_run import save_examples
from jepa_vlm.report.run_report import write_run_report
from jepa_vlm.runs.environment import measured, processes, rank, restored, wait, watch_memory
from jepa_vlm.runs.folder import (
    RunFolder,
    RunResult,
    alone,
    free_folder,
    held_out_findings,
    held_out_monitors,
    held_out_terms,
)
from jepa_vlm.runs.plan import COMPOSED, Plan, plan_run
from jepa_vlm.runs.settings import RunSettings, check_names, overruled
from jepa_vlm.training import ObjectiveTrainer, Origin, TrainSettings, export, fill_targets, save_weights
from jepa_vlm.training.callbacks import Progress
from jepa_vlm.training.metrics import read_metrics
from jepa_vlm.training.signals import StopRequest, StopWhenAsked
from jepa_vlm.trajectories.load import parse_spec
from jepa_vlm.trajectories.rows import Mixture, Source

P = ParamSpec("P")


def _spelled_out(
    settings: Callable[P, RunSettings],
) -> Callable[[Callable[[Recipe | str, RunSettings], RunResult]], Callable[Concatenate[Recipe | str, P], RunResult]]:
    """Give a function of a recipe and settings the arguments of the settings: type checkers and editors know them."""

    def decorate(
        function: Callable[[Recipe | str, RunSettings], RunResult],
    ) -> Callable[Concatenate[Recipe | str, P], RunResult]:
        @wraps(function)
        def call(recipe: Recipe | str, *args: P.args, **given: P.kwargs) -> RunResult:
            check_names(RunSettings, given)
            return function(recipe, settings(*args, **given))

        own, other = signature(function), signature(settings)
        parameters = [own.parameters["recipe"], *other.parameters.values()]
        call.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
        return call  # type: ignore[return-value]  # ``recipe`` may be named too, which Concatenate cannot say

    return decorate


@_spelled_out(RunSettings)
def train(recipe: Recipe | str, settings: RunSettings) -> RunResult:
    """Train, evaluate before and after, export and report.

    Args:
        recipe: A recipe, or the name or file of one.
        settings: The fields of ``RunSettings``, as arguments: ``backbone``, ``data``, ``output``, ``steps``, ...
            Without ``output``, the run's folder is ``runs/RECIPE``, numbered if that is taken.

    Raises:
        JepaVLMError: One message for whatever does not fit.
        InterruptedRunError: After SIGINT or SIGTERM, when the checkpoint is saved.
    """
    if isinstance(recipe, Recipe) and settings.parameters:
        raise ValueError(
            f"parameters belong to a recipe given by name; this one is built already, got {settings.parameters}."
        )
    return start_run(recipe, settings)


def start_run(recipe: Recipe | str, settings: RunSettings) -> RunResult:
    """Do a run; see ``train``. Under torchrun, every process calls it and gets the same result.

    The process is left as it was found, see ``restored``; under torchrun, the process group stays.
    """
    console = Console(stderr=True, quiet=rank() != 0, markup=False, highlight=False, soft_wrap=True)
    with restored():
        folder = _folder(recipe, settings)
        plan = plan_run(recipe, settings)
        with alone(folder.path, "run") if rank() == 0 else nullcontext():
            return _carry_out(plan, folder, console)


def _carry_out(plan: Plan, folder: RunFolder, console: Console) -> RunResult:
    check_base(plan["backbone"])  # a run ends with an export: one that cannot be made is refused before training
    settings = _settings(plan, folder)
    settings.arguments()  # under torchrun, starts the process group, so that processes can wait for each other
    if rank() == 0:
        _open(folder, plan)
    wait()
    console.print("\n".join(_first_lines(plan, folder)))
    fill_targets(
        plan.model,
        Mixture([Source("train", plan.train.kept), Source("validation", plan.validation.kept)]),
        batch_size=plan["batch_size"],
        workers=plan["workers"],
        tell=console.print,
    )
    trainer = _trainer(plan, folder, settings, console)
    before = measure(plan, folder.before, console, "before", keep=plan.settings.resume) if rank() == 0 else None
    wait()
    seconds = _train(trainer, plan, folder)
    if rank() == 0:
        save_weights(plan.model, folder.best, _origin(plan))
        taken = measured()  # before the questions, which would raise the peak of the memory
        after = measure(plan, folder.after, console, "after", keep=False)
        entry = measure_other_entry(plan, folder.other_entry, console)
        finish(plan, folder, trainer, (before, after), console, entry, seconds=seconds, taken=taken).write(folder.path)
    wait()
    return RunResult.read(folder.path)


def _folder(recipe: Recipe | str, settings: RunSettings) -> RunFolder:
    if settings.output is None and (settings.resume or processes() > 1):
        why = "Resuming needs the run's folder" if settings.resume else "Several processes must agree on a folder"
        raise RunError(f"{why}: give it as --output.")
    name = Path(recipe).stem if isinstance(recipe, str) else COMPOSED
    folder = RunFolder(path=free_folder(Path("runs"), name) if settings.output is None else Path(settings.output))
    if settings.resume:
        folder.check_exists()
    elif rank() == 0:
        folder.check_free()
    return folder


def _open(folder: RunFolder, plan: Plan) -> None:
    if plan.settings.resume:
        folder.check_same(plan.values, str(plan.model.objective), plan.data.digests)
        return
    folder.create(plan.config())


def _settings(plan: Plan, folder: RunFolder) -> TrainSettings:
    values = {item.name: plan[item.name] for item in fields(TrainSettings) if item.name in plan.values}
    return TrainSettings(
        **{**values, "stages": plan.recipe.stages, "report_to": tuple(plan["report_to"])},
        folder=folder.checkpoints,
        log_every=max(1, min(10, plan["steps"] // 20)),
    )


def _origin(plan: Plan) -> Origin:
    named = (plan["backbone"], plan["seed"], plan["dtype"], plan["visual_tokens"])
    return Origin(*named, added_tokens=plan.recipe.added_tokens, answering=plan.recipe.answering)


def _trainer(plan: Plan, folder: RunFolder, settings: TrainSettings, console: Console) -> ObjectiveTrainer:
    return ObjectiveTrainer(
        model=plan.model,
        settings=settings,
        train=plan.train.kept,
        validation=plan.validation.kept,
        metrics=folder.metrics,
        origin=_origin(plan),
        tokens=plan.decoded,
        callbacks=[Progress(console=console)],
    )


def _train(trainer: ObjectiveTrainer, plan: Plan, folder: RunFolder) -> float:
    """Train under the checks; return the seconds it took, those before a resumption included."""
    last = folder.last_checkpoint() if plan.settings.resume else None
    watch_memory()
    with StopRequest() as request:
        trainer.add_callback(StopWhenAsked(request=request))
        trainer.train(str(last) if last is not None else None)
    if trainer.state.global_step < plan["steps"]:
        raise InterruptedRunError(
            f"Stopped after step {trainer.state.global_step} of {plan['steps']}; the checkpoint is saved. Go on with:\n"
            f"  {resume_command(plan.settings.command, folder.path)}"
        )
    return round(trainer.seconds, 2)


def resume_command(command: tuple[str, ...], folder: Path) -> str:
    """Return the command that goes on with a run: the one that began it, with its folder and ``--resume``."""
    if not command:
        return f"train(..., output={str(folder)!r}, resume=True)"
    words = [word for word in command if word != "--resume"]
    if not any(word == "--output" or word.startswith("--output=") for word in words):
        words += ["--output", str(folder)]
    return shlex.join([*words, "--resume"])


def _first_lines(plan: Plan, folder: RunFolder) -> list[str]:
    """Return what a user should know of a run when it begins."""
    size = plan["batch_size"] if plan["batch_tokens"] is None else f"{plan['batch_tokens']} tokens"
    lines = [
        f"{plan['recipe']} on {plan['backbone']}, {plan['data']}: {len(plan.train.kept)} trajectories, "
        f"{plan['steps']} steps of {size} x {plan['accumulation']}, into {folder.path}",
        *overruled(plan.values, plan["backbone"]),
    ]
    if plan.settings.resume:
        last = folder.last_checkpoint()
        lines.append("no complete checkpoint yet: training begins anew" if last is None else f"going on from {last}")
    if plan.data.benchmark is None:
        lines.append("accuracy is not measured: this data comes without questions")
    lines += plan.scanned.lines()
    for word, names in (("dropped", plan.train.dropped), ("shrunk", plan.train.shrunk)):
        if names:
            lines.append(f"{len(names)} trajectories {word}, longer than {plan['max_tokens']} tokens")
    lines += [f"Note: {note}" for note in plan.notes]
    if plan.filling is not None and plan.filling.warning:
        lines.append(plan.filling.warning)
    return [*lines, *(f"warning: {line}" for line in plan.warnings)]


EXAMPLES = 6


def measure(plan: Plan, path: Path, console: Console, when: str, *, keep: bool) -> Evaluation | None:
    """Ask the data's questions and write the answers down; return None if the data has none.

    Args:
        plan: Plan of the run.
        path: File of the evaluation.
        console: Prints the accuracy.
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
        plan: Plan of the run.
        path: File of the evaluation.
        console: Prints how often the latent path ran.
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
    console: Console,
    entry: Mapping[str, Any],
    *,
    seconds: float,
    taken: Mapping[str, Any],
) -> RunResult:
    """Export the best checkpoint, write the report, and return the run's result.

    Args:
        plan: Plan of the run.
        folder: Folder of the run.
        trainer: After training; its model has the best checkpoint's weights.
        evaluations: Before and after.
        console: Prints the export's folder.
        entry: Result of ``measure_other_entry``.
        seconds: Wall time of training.
        taken: The machine and its memory after training, from ``measured``.
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
        seconds=seconds,
        measured=taken,
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
