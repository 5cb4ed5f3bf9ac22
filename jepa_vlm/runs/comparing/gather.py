"""Put everything that a comparison found together as one JSON object."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from jepa_vlm.comparison import Answered, Trained, ablations, accuracy_record
from jepa_vlm.evaluation import commit, versions
from jepa_vlm.runs.comparing.answers import AnswerCost, AnswerSettings, read_answers, read_spent
from jepa_vlm.runs.comparing.entries import FORMAT, UNTRAINED, Arm, CompareFolder
from jepa_vlm.runs.comparing.facts import ArmFacts
from jepa_vlm.runs.folder import RunResult
from jepa_vlm.runs.settings import DATA, MAY_CHANGE, CompareSettings
from jepa_vlm.training.run_config import RunConfig

FREE = ("recipe", "seed", "steps", "validate_every", *MAY_CHANGE)  # of an arm and its ablations


@final
@dataclass(frozen=True)
class Gathered:
    """Everything that the record of a comparison is made of.

    Args:
        settings, arms, folder, answer_settings: Those of the comparison.
        models: Arm and seed of each model; None and None for the untrained backbone.
        facts, steps: Facts and optimiser steps of each arm, by its name.
        baseline, backbone: Names, resolved.
        jobs: Number of processes that ran at a time.
    """

    settings: CompareSettings
    arms: Sequence[Arm]
    models: Sequence[tuple[Arm | None, int | None]]
    folder: CompareFolder
    answer_settings: AnswerSettings
    facts: Mapping[str, ArmFacts]
    steps: Mapping[str, int]
    baseline: str
    backbone: str
    jobs: int

    def seeds(self, arm: Arm) -> list[int]:
        """Return the seeds of an arm that are in the record."""
        return [int(seed) for one, seed in self.models if one is arm and seed is not None]

    def spent(self) -> Iterator[tuple[Arm | None, AnswerCost]]:
        """Yield the arm of each model, with what answering one benchmark took."""
        for arm, seed in self.models:
            for one in read_spent(self.answer_settings, self.folder.answers(arm, seed)):
                yield arm, one


def gather(found: Gathered) -> dict[str, Any]:
    """Return the record of a comparison."""
    held_against = {UNTRAINED: _baseline_of(found, None), **{a.name: _baseline_of(found, a) for a in found.arms}}
    answered = [
        Answered(
            UNTRAINED if arm is None else arm.name,
            seed,
            read_answers(found.answer_settings, found.folder.answers(arm, seed)),
        )
        for arm, seed in found.models
    ]
    record = accuracy_record(answered, held_against)
    results = {
        (arm.name, seed): RunResult.read(found.folder.run(arm, seed))
        for arm, seed in found.models
        if arm is not None and seed is not None
    }
    for run in record["runs"]:
        if (result := results.get((run["arm"], run["seed"]))) is not None:
            run |= {"folder": result.run, "best_step": result.best_step, "seconds": result.seconds}
    trained = [
        Trained(
            arm.name,
            found.facts[arm.name].terms,
            {
                name: value
                for name, value in found.facts[arm.name].values.items()
                if name not in FREE and not name.startswith("parameter.")
            },
        )
        for arm in found.arms
    ]
    return {
        "format": FORMAT,
        "command": list(found.settings.command),
        "backbone": found.backbone,
        "match": found.settings.match,
        "baseline": found.baseline,
        "jobs": found.jobs,
        "asking": {
            "protocol": found.settings.protocol,
            "scoring": found.settings.scoring,
            "questions": found.settings.questions,
            "seed": found.settings.question_seed,
        },
        "arms": [{"name": UNTRAINED, "baseline": held_against[UNTRAINED], "seeds": []}]
        + [_arm(found, arm, held_against[arm.name]) for arm in found.arms],
        **record,
        "ablations": ablations(trained),
        "cost": _costs(found, results),
        "machines": _machines(found, results),
        "versions": versions(),
        "commit": commit(),
        "notes": _notes(found),
    }


def _arm(found: Gathered, arm: Arm, baseline: str | None) -> dict[str, Any]:
    facts = found.facts[arm.name]
    return {
        "name": arm.name,
        "recipe": arm.recipe,
        "parameters": dict(arm.parameters),
        "data": arm.data or DATA,
        "baseline": baseline,
        "seeds": found.seeds(arm),
        "terms": facts.terms,
        "inference": facts.inference,
        "values": {**facts.values, "steps": found.steps[arm.name], "seed": None},
        "given": bool(arm.runs),
    }


def _baseline_of(found: Gathered, arm: Arm | None) -> str | None:
    """Return the arm that an arm is compared with: the baseline on the same data, or the only one there is."""
    if found.baseline == UNTRAINED:
        return None if arm is None else UNTRAINED
    candidates = [one for one in found.arms if found.baseline in (one.name, one.entry)]
    if arm is not None and arm in candidates:
        return None
    same = [one for one in candidates if arm is not None and one.data == arm.data]
    chosen = same or (candidates if len(candidates) == 1 else [])
    return chosen[0].name if chosen else None


def _costs(found: Gathered, results: Mapping[tuple[str, int], RunResult]) -> dict[str, Any]:
    costs: dict[str, Any] = {UNTRAINED: {"inference": _inference(found, None)}}
    for arm in found.arms:
        facts, steps = found.facts[arm.name], found.steps[arm.name]
        runs = [results[arm.name, seed] for seed in found.seeds(arm)]
        shown = round(steps * facts.per_step)  # on average, where micro-batches are cut by tokens
        peaks = [run.measured["peak_memory"] for run in runs if run.measured.get("peak_memory")]
        cost = facts.cost
        costs[arm.name] = {
            "steps": steps,
            "trajectories": shown,
            "tokens": None if cost is None else round(shown * cost.tokens),
            "flops": None if cost is None else round(shown * cost.flops),
            "step_memory": None if cost is None else cost.step_memory,
            "counted_on": None if cost is None else cost.trajectories,
            "seconds": [run.seconds for run in runs],
            "peak_memory": max(peaks, default=None),
            "memory": next((run.measured["memory"] for run in runs if run.measured), None),
            "trained": facts.trained,
            "inference": _inference(found, arm),
        }
    return costs


def _inference(found: Gathered, arm: Arm | None) -> dict[str, Any]:
    """Return tokens and seconds of one answer, on average over all benchmarks and seeds."""
    spent = [one for owner, one in found.spent() if owner is arm]
    timed = [one for one in spent if one.seconds is not None]
    items = sum(one.items for one in timed)
    return {
        "scoring": sorted({one.scoring for one in spent}),
        "tokens": sum(one.tokens for one in spent) / sum(one.items for one in spent),
        "seconds": sum(one.seconds or 0 for one in timed) / items if items else None,
    }


def _machines(found: Gathered, results: Mapping[tuple[str, int], RunResult]) -> list[dict[str, Any]]:
    """Return each machine that trained or answered, once."""
    held = [run.measured["machine"] for run in results.values() if run.measured]
    held += [one.machine for _, one in found.spent()]
    return [one for place, one in enumerate(held) if one not in held[:place]]


def _notes(found: Gathered) -> list[str]:
    """Return what a reader must know before comparing."""
    made: dict[str, set[str]] = {"commits": set(), "versions": set()}
    notes = []
    for arm, seed in found.models:
        if arm is None or seed is None:
            continue
        record = RunConfig.read(found.folder.run(arm, seed)).record
        made["commits"].add(str(record.get("commit")))
        made["versions"].add(json.dumps(record.get("versions")))
    notes += [
        f"Runs were made by {len(held)} {what}; see their config.json." for what, held in made.items() if len(held) > 1
    ]
    notes += [note for _, one in found.spent() for note in one.notes]
    if found.settings.match == "steps" and len(set(found.steps.values())) > 1:
        notes.append("Not all arms trained for the same number of steps: finished runs were given.")
    return list(dict.fromkeys(notes))
