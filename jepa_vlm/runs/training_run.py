"""``train``: from a recipe to a merged, evaluated, reported model."""

from __future__ import annotations

import shlex
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from rich.console import Console

from jepa_vlm.adapters.base_folder import check_base
from jepa_vlm.errors import InterruptedRunError, RunError
from jepa_vlm.recipe import Recipe
from jepa_vlm.runs.environment import processes, rank, restored, wait
from jepa_vlm.runs.folder import RunFolder, free_folder
from jepa_vlm.runs.lock import alone
from jepa_vlm.runs.measured import Spent, measured, watch_memory
from jepa_vlm.runs.outcome import finish, measure, measure_other_entry
from jepa_vlm.runs.plan import Plan, plan_run
from jepa_vlm.runs.result import RunResult
from jepa_vlm.runs.settings import Asked, overruled
from jepa_vlm.training import ObjectiveTrainer, Origin, TrainSettings, fill_targets, save_weights
from jepa_vlm.training.callbacks import Progress
from jepa_vlm.training.signals import StopRequest, StopWhenAsked
from jepa_vlm.trajectories.mixture import Mixture, Source


def train(
    recipe: Recipe | str,
    backbone: str | None = None,
    data: str | None = None,
    output: str | Path | None = None,
    *,
    parameters: dict[str, Any] | None = None,
    **asked: Any,
) -> RunResult:
    """Train, evaluate before and after, export and report.

    Args:
        recipe: A recipe, or the name or file of one.
        backbone: As for ``load_backbone``; None is the embedded default.
        data: ``playground:TASK``, ``FORMAT:PATH``, a path, or a mixture of them; None is the embedded default.
        output: A new folder; None takes ``runs/RECIPE``, numbered if it is taken.
        parameters: Of the recipe, if it is given by name.
        **asked: Further fields of ``runs.settings.Asked``: steps, seed, batch_size, resume, ...

    Raises:
        JepaVLMError: One message for whatever does not fit.
        InterruptedRunError: After SIGINT or SIGTERM, when the checkpoint is saved.
    """
    name = recipe if isinstance(recipe, str) else "composed"
    if isinstance(recipe, Recipe) and parameters:
        raise ValueError(f"parameters belong to a recipe given by name; this one is built already, got {parameters}.")
    said = Asked(
        recipe=name,
        parameters=parameters or {},
        backbone=backbone,
        data=data,
        output=Path(output) if output is not None else None,
        **asked,
    )
    return start_run(said, None if isinstance(recipe, str) else recipe)


def start_run(asked: Asked, recipe: Recipe | None = None) -> RunResult:
    """Do the run that was asked for; see ``train``. Under torchrun, every process calls it and gets the same result.

    The process is left as it was found, see ``restored``; under torchrun, the process group stays.
    """
    with restored():
        return _plan_and_carry_out(asked, recipe)


def _plan_and_carry_out(asked: Asked, recipe: Recipe | None) -> RunResult:
    console = Console(stderr=True, quiet=rank() != 0)
    folder = _folder(asked)
    plan = plan_run(asked, recipe)
    with alone(folder.path, "run") if rank() == 0 else nullcontext():
        return _carry_out(plan, folder, console)


def _carry_out(plan: Plan, folder: RunFolder, console: Console) -> RunResult:
    check_base(plan["backbone"])  # a run ends with an export: one that cannot be made is refused before training
    settings = _settings(plan, folder)
    settings.arguments()  # under torchrun, starts the process group, so that processes can wait for each other
    if rank() == 0:
        _open(folder, plan)
    wait()
    _say(console, plan, folder)
    fill_targets(
        plan.model,
        Mixture([Source("train", plan.train.kept), Source("validation", plan.validation.kept)]),
        batch_size=plan["batch_size"],
        workers=plan["workers"],
        tell=lambda said: console.print(said, highlight=False, soft_wrap=True),
    )
    trainer = _trainer(plan, folder, settings, console)
    before = measure(plan, folder.before, console, "before", keep=plan.asked.resume) if rank() == 0 else None
    wait()
    seconds = _train(trainer, plan, folder)
    if rank() == 0:
        save_weights(plan.model, folder.best, _origin(plan))
        spent = Spent(seconds, measured())
        after = measure(plan, folder.after, console, "after", keep=False)
        entry = measure_other_entry(plan, folder.other_entry, console)
        finish(plan, folder, trainer, (before, after), spent, console, entry).write(folder.path)
    wait()
    return RunResult.read(folder.path)


def _folder(asked: Asked) -> RunFolder:
    if asked.output is None and (asked.resume or processes() > 1):
        why = "Resuming needs the run's folder" if asked.resume else "Several processes must agree on a folder"
        raise RunError(f"{why}: give it as --output.")
    name = Path(asked.recipe).stem
    folder = RunFolder(path=asked.output if asked.output is not None else free_folder(Path("runs"), name))
    if asked.resume:
        folder.check_exists()
    elif rank() == 0:
        folder.check_free()
    return folder


def _open(folder: RunFolder, plan: Plan) -> None:
    if plan.asked.resume:
        folder.check_same(plan.values, str(plan.model.objective), plan.data.digests)
        return
    folder.create(plan.config())


def _settings(plan: Plan, folder: RunFolder) -> TrainSettings:
    names = (
        "steps",
        "batch_size",
        "batch_tokens",
        "accumulation",
        "learning_rate",
        "warmup",
        "weight_decay",
        "schedule",
        "rates",
    )
    return TrainSettings(
        folder=folder.checkpoints,
        stages=plan.recipe.stages,
        **{name: plan[name] for name in names},
        max_grad_norm=plan["max_grad_norm"],
        seed=plan["seed"],
        workers=plan["workers"],
        log_every=max(1, min(10, plan["steps"] // 20)),
        validate_every=plan["validate_every"],
        report_to=tuple(plan["report_to"]),
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
    last = folder.last_checkpoint() if plan.asked.resume else None
    watch_memory()
    with StopRequest() as request:
        trainer.add_callback(StopWhenAsked(request=request))
        trainer.train(str(last) if last is not None else None)
    if trainer.state.global_step < plan["steps"]:
        raise InterruptedRunError(
            f"Stopped after step {trainer.state.global_step} of {plan['steps']}; the checkpoint is saved. Go on with:\n"
            f"  {resume_command(plan.asked.command, folder.path)}"
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


def _say(console: Console, plan: Plan, folder: RunFolder) -> None:
    size = plan["batch_size"] if plan["batch_tokens"] is None else f"{plan['batch_tokens']} tokens"
    console.print(
        f"{plan['recipe']} on {plan['backbone']}, {plan['data']}: {len(plan.train.kept)} trajectories, "
        f"{plan['steps']} steps of {size} x {plan['accumulation']}, into {folder.path}",
        highlight=False,
        soft_wrap=True,
    )
    for line in overruled(plan.values, plan["backbone"]):
        console.print(line, highlight=False, soft_wrap=True)
    if plan.asked.resume:
        last = folder.last_checkpoint()
        console.print(
            f"going on from {last}" if last is not None else "no complete checkpoint yet: training begins anew",
            highlight=False,
            soft_wrap=True,
        )
    if plan.data.benchmark is None:
        console.print("accuracy is not measured: this data comes without questions", highlight=False, soft_wrap=True)
    for line in plan.scanned.lines():
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    for word, names in (("dropped", plan.train.dropped), ("shrunk", plan.train.shrunk)):
        if names:
            console.print(
                f"{len(names)} trajectories {word}, longer than {plan['max_tokens']} tokens",
                highlight=False,
                soft_wrap=True,
            )
    for note in plan.notes:
        console.print(f"Note: {note}", highlight=False, soft_wrap=True, markup=False)
    if plan.filling is not None and plan.filling.warning:
        console.print(plan.filling.warning, highlight=False, soft_wrap=True)
    for line in plan.warnings:
        console.print(f"warning: {line}", highlight=False, soft_wrap=True)
