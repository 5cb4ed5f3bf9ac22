"""``compare``: train what is missing, ask every model the same items, and write one record and its pages."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import torch
from rich.console import Console

from jepa_vlm.errors import InterruptedRunError, RecipeError, RunError, UnknownNameError
from jepa_vlm.evaluation import file_stem, load_benchmark, protocol_of
from jepa_vlm.evaluation.benchmarks import BENCHMARKS
from jepa_vlm.recipe import load_recipe
from jepa_vlm.report.comparison_page import write_comparison
from jepa_vlm.runs.comparing.answers import AnswerSettings, has_answers, read_answers
from jepa_vlm.runs.comparing.entries import UNTRAINED, Arm, CompareFolder, read_arms
from jepa_vlm.runs.comparing.facts import ArmFacts, matched_steps
from jepa_vlm.runs.comparing.gather import Gathered, gather
from jepa_vlm.runs.comparing.jobs import Job, run_jobs
from jepa_vlm.runs.data import file_digests
from jepa_vlm.runs.environment import processes
from jepa_vlm.runs.settings import BACKBONE, DATA, CompareSettings, check_names
from jepa_vlm.training.run_config import CONFIG, RunConfig


@final
@dataclass(frozen=True)
class ComparisonResult:
    """A finished comparison.

    Args:
        folder: Its folder.
        record: Everything found, as comparison.json holds it.
        files: What was written.
    """

    folder: Path
    record: Mapping[str, Any]
    files: tuple[Path, ...]


def compare(
    *entries: str,
    training: Mapping[str, Any] | None = None,
    **settings: Any,
) -> ComparisonResult:
    """Train what is missing, ask every model the same items, and write the tables.

    What is finished already is not done again, and a run that was interrupted goes on from its checkpoint.

    Args:
        entries: Recipes by name or file, with parameters (``"pearl:next_latent=0"``) and data of their own
            (``"sft@lvr:meta.json"``), or folders of finished runs; with ``NAME=`` before them for a name of their own.
        training: Settings of all runs, as ``train`` takes them: steps, batch_size, learning_rate, ...
        **settings: Further fields of ``CompareSettings``: seeds, output, match, baseline, backbone, data, on, ...

    Raises:
        JepaVLMError: One message for whatever does not fit, or fails.
        InterruptedRunError: After SIGINT or SIGTERM, when the runs in training have saved a checkpoint.
    """
    check_names(CompareSettings, settings)
    given = {name: value for name, value in settings.items() if value is not None}
    given |= {name: (given[name],) for name in ("data", "on") if isinstance(given.get(name), str)}
    return start_comparison(CompareSettings(entries=tuple(entries), training=training or {}, **given))


def start_comparison(settings: CompareSettings) -> ComparisonResult:
    """Do a comparison; see ``compare``."""
    if processes() > 1:
        raise RunError("A comparison starts its runs by itself; call it once, not under torchrun.")
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    arms = read_arms(settings.entries, data=settings.data)
    comparison = _Comparison(settings, arms, CompareFolder(path=Path(settings.output)), console)
    try:
        with comparison.folder.alone():
            return comparison.run()
    except KeyboardInterrupt:
        raise InterruptedRunError(
            f"Stopped. What is done is kept in {settings.output}, and the same command goes on."
        ) from None


@final
class _Comparison:
    def __init__(self, settings: CompareSettings, arms: Sequence[Arm], folder: CompareFolder, console: Console) -> None:
        self.settings, self.arms, self.folder, self.console = settings, arms, folder, console
        self.backbone = _one_backbone(settings, arms)
        self.baseline = _baseline(settings, arms)
        self.answer_settings = AnswerSettings(
            benchmarks=_checked(settings.benchmarks),
            protocol=settings.protocol,
            scoring=settings.scoring,
            count=settings.questions,
            seed=settings.question_seed,
            batch_size=settings.answer_batch,
        )
        tiny = self.backbone.startswith("tiny") and not torch.cuda.is_available()
        self.jobs = settings.jobs or (len(os.sched_getaffinity(0)) if tiny and hasattr(os, "sched_getaffinity") else 1)

    def run(self) -> ComparisonResult:
        """Do what is missing, and write the record."""
        models: list[tuple[Arm | None, int | None]] = [(None, None)]
        models += [(arm, seed) for seed in range(self.settings.seeds) for arm in self.arms if not arm.runs]
        models += [(arm, seed) for arm in self.arms for seed in sorted(arm.runs)]
        missing = [m for m in models if not has_answers(self.answer_settings, self.folder.answers(*m))]
        if missing:
            self._check_files()
        self._hold()
        self._do([self._facts_job(arm) for arm in self.arms if not self.folder.facts(arm).is_file()], "counted")
        facts = {arm.name: ArmFacts.read(self.folder.facts(arm)) for arm in self.arms}
        steps = self._steps(facts)
        self._check_steps(steps)
        self.console.print(
            f"{len(models)} models, {len(models) - len(missing)} of them done already, in {self.folder.path}; "
            f"{self.jobs} at a time"
        )
        self._do([self._model_job(arm, seed, facts, steps) for arm, seed in missing], "done", tell=self._accuracy)
        ordered = [models[0], *((arm, seed) for arm in self.arms for a, seed in models if a is arm)]
        record = gather(
            Gathered(
                settings=self.settings,
                arms=self.arms,
                models=ordered,
                folder=self.folder,
                answer_settings=self.answer_settings,
                facts=facts,
                steps=steps,
                baseline=self.baseline,
                backbone=self.backbone,
                jobs=self.jobs,
            )
        )
        files = write_comparison(record, self.folder.record)
        return ComparisonResult(self.folder.path, record, files)

    def _check_files(self) -> None:
        """Read the benchmarks of files once, so that what is wrong with them is said before anything trains."""
        for spec in self.answer_settings.benchmarks:
            if protocol_of(spec, None) is not None:
                load_benchmark(spec, protocol=self.answer_settings.protocol)

    def _hold(self) -> None:
        values = {name: value for name, value in self.settings.training.items() if value is not None}
        budget = self._reference().name if self.settings.match != "steps" else None
        common = {"backbone": self.backbone, "match": self.settings.match, "budget of": budget, **values}
        trained = [arm for arm in self.arms if not arm.runs]
        digests = {data: file_digests(data) for data in {arm.data or DATA for arm in trained}}
        decides = {
            arm.name: {
                "recipe": repr(load_recipe(arm.recipe, **arm.parameters)),
                "data": arm.data or DATA,
                "data digests": digests[arm.data or DATA],
            }
            for arm in trained
        }
        given = {
            f"{arm.name}, seed {seed}": {"run": str(folder.resolve())}
            for arm in self.arms
            for seed, folder in arm.runs.items()
        }
        given |= {arm.name: {"by": "finished runs"} for arm in self.arms if arm.runs}  # never one of decides' own
        self.folder.hold(common, {**decides, **given})

    def _reference(self) -> Arm:
        return next((arm for arm in self.arms if self.baseline in (arm.name, arm.entry)), self.arms[0])

    def _steps(self, facts: Mapping[str, ArmFacts]) -> dict[str, int]:
        trained = {arm.name: facts[arm.name] for arm in self.arms if not arm.runs}
        own = {arm.name: int(facts[arm.name].values["steps"]) for arm in self.arms if arm.runs}
        if not trained:
            return own
        reference = self._reference()
        return {
            **matched_steps(self.settings.match, reference.name, {**trained, reference.name: facts[reference.name]}),
            **own,
        }

    def _check_steps(self, steps: Mapping[str, int]) -> None:
        """Hold the runs that are there to the steps that this call would give them.

        Raises:
            RunError: If one has others: under ``steps``, another reference may have another recipe's number.
        """
        for arm in (one for one in self.arms if not one.runs):
            for run in (self.folder.run(arm, seed) for seed in range(self.settings.seeds)):
                held = RunConfig.read(run).values["steps"] if (run / CONFIG).is_file() else None
                if held not in (None, steps[arm.name]):
                    raise RunError(
                        f"{run} has {held} steps, and by {self._reference().name!r} this command gives "
                        f"{arm.name!r} {steps[arm.name]}; name the same --baseline, or give a new --output."
                    )

    def _facts_job(self, arm: Arm) -> Job:
        to = str(self.folder.facts(arm))
        if arm.runs:
            task = {"kind": "cost", "run": str(arm.runs[min(arm.runs)].resolve()), "to": to}
        else:
            task = {"kind": "facts", **self._run_task(arm, 0), "to": to}
        return Job(f"what {arm.name} costs", task, self.folder.log(f"{arm.slug}-facts"))

    def _model_job(
        self, arm: Arm | None, seed: int | None, facts: Mapping[str, ArmFacts], steps: Mapping[str, int]
    ) -> Job:
        task: dict[str, Any] = {
            "kind": "model",
            "asking": asdict(self.answer_settings),
            "to": str(self.folder.answers(arm, seed)),
        }
        if arm is None or seed is None:
            values = facts[self.arms[0].name].values
            task["loading"] = {name: values[name] for name in ("dtype", "visual_tokens")}
            return Job(UNTRAINED, {**task, "model": self.backbone}, self.folder.log(UNTRAINED))
        task["model"] = str(self.folder.run(arm, seed))
        if not arm.runs:
            task |= self._run_task(arm, seed, steps=steps[arm.name], questions=0)
        return Job(f"{arm.name}, seed {seed}", task, self.folder.log(f"{arm.slug}-{seed}"))

    def _run_task(self, arm: Arm, seed: int, **more: int) -> dict[str, Any]:
        given = {name: value for name, value in self.settings.training.items() if value is not None}
        named = {"parameters": dict(arm.parameters), "backbone": self.backbone, "data": arm.data or DATA}
        return {"recipe": arm.recipe, "settings": {**named, "seed": seed, **given, **more}}

    def _do(self, jobs: Sequence[Job], verb: str, tell: Callable[[Job], str] | None = None) -> None:
        def began(job: Job) -> None:
            self.console.print(f"{job.name} begins; it talks into {job.log}", markup=False)

        for number, job in enumerate(run_jobs(jobs, at_once=self.jobs, began=began), start=1):
            self.console.print(f"{number}/{len(jobs)} {job.name}: {tell(job) if tell else verb}", markup=False)

    def _accuracy(self, job: Job) -> str:
        found = read_answers(self.answer_settings, Path(job.task["to"]))
        return ", ".join(f"{spec} {one.scored[0].overall.value:.1%}" for spec, one in found.items())


def _one_backbone(settings: CompareSettings, arms: Sequence[Arm]) -> str:
    named = [RunConfig.read(run).values["backbone"] for arm in arms for run in arm.runs.values()]
    if settings.backbone or not all(arm.runs for arm in arms):
        named.append(settings.backbone or BACKBONE)
    if len(set(named)) > 1:
        raise RunError(
            f"All models of a comparison start from one backbone, got {', '.join(dict.fromkeys(named))}; give the "
            "one of the finished runs as --backbone."
        )
    return str(named[0])


def _baseline(settings: CompareSettings, arms: Sequence[Arm]) -> str:
    baseline = settings.baseline or arms[0].entry
    known = [UNTRAINED, *dict.fromkeys(name for arm in arms for name in (arm.entry, arm.name))]
    if baseline not in known:
        raise UnknownNameError("baseline", baseline, known=known)
    return baseline


def _checked(benchmarks: Sequence[str]) -> tuple[str, ...]:
    """Return the benchmarks, whose names exist and whose files are called differently."""
    for spec in benchmarks:
        _ = BENCHMARKS[spec.partition(":")[0]]
    stems = [file_stem(spec) for spec in benchmarks]
    if twice := [stem for stem in stems if stems.count(stem) > 1]:
        raise RecipeError(f"{twice[0]} is named twice among the benchmarks; compare them in two folders.")
    return tuple(benchmarks)
