"""The training-step suite: every variant on every length mix, counted and timed, as one record."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

import torch

from benchmarks.clocks import Spread
from benchmarks.mixes import MIXES, make_trajectories, view_lengths
from benchmarks.shapes import SHAPES, build_backbone
from benchmarks.step.closed_form import StepFlops, closed_forms
from benchmarks.step.counting import Held, Work, count_memory, count_work
from benchmarks.step.records import SCHEMA
from benchmarks.step.settings import SuiteSettings
from benchmarks.step.timing import Ceilings, Timed, measure_ceilings, profile_idle, time_steps
from benchmarks.step.training_step import PHASES, Setting, Step
from benchmarks.step.variants import VARIANTS
from jepa_vlm.adapters import Backbone
from jepa_vlm.evaluation import commit, versions
from jepa_vlm.runs.environment import machine
from jepa_vlm.serialization import Serializer

Say = Callable[[str], None]
REFERENCES = ("sft", "sft_stock")  # steps that the times of others are divided by, round by round
ROOFS = ("arithmetic", "memory", "launches")
COMPARED = ("sft", "pearl")


def run_suite(
    settings: SuiteSettings, *, command: Sequence[str] = (), note: str = "", say: Say = lambda _: None
) -> dict[str, Any]:
    """Run the suite and return its record, plain JSON values.

    Args:
        settings: What to measure.
        command: The command line, for the record.
        note: A remark for readers of the record, such as what else the machine did.
        say: Receives lines of progress.
    """
    torch.manual_seed(settings.seed)
    if settings.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as in a run
    torch.use_deterministic_algorithms(settings.deterministic, warn_only=True)
    device = settings.place
    timed = device.type != "meta"
    say(f"{settings.shape}, {settings.precision}, {device.type}")
    backbone = build_backbone(SHAPES[settings.shape], device=device, dtype=settings.precision, seed=settings.seed)
    ceilings = measure_ceilings(device, settings.precision) if timed else None
    record: dict[str, Any] = {
        "suite": "step",
        "schema": SCHEMA,
        "machine": machine(device),
        "versions": versions(),
        "commit": commit(),
        "config": settings.recorded(),
        "calls": [{"command": list(command), "note": note, "ceilings": asdict(ceilings) if ceilings else None}],
        "cases": [],
        "crossover": [],
    }
    for mix in settings.chosen_mixes():
        for checkpointing in settings.checkpointing:
            say(f"{mix}, {settings.examples} examples, checkpointing {'on' if checkpointing else 'off'}")
            record["cases"].append(_case(settings, backbone, ceilings, mix, checkpointing=checkpointing, say=say))
        if ceilings is not None:
            record["crossover"] += crossover(settings, backbone, ceilings, mix, say=say)
    return record


def _case(
    settings: SuiteSettings, backbone: Backbone, ceilings: Ceilings | None, mix: str, *, checkpointing: bool, say: Say
) -> dict[str, Any]:
    serializer = Serializer(processor=backbone.processor, adapter=backbone.adapter)
    trajectories = make_trajectories(
        mix,
        serializer=serializer,
        count=settings.examples,
        scale=SHAPES[settings.shape].lengths,
        seed=settings.seed,
    )
    setting = Setting(
        backbone=backbone,
        trajectories=trajectories,
        checkpointing=checkpointing,
        seed=settings.seed,
        stock_attention=settings.stock_attention,
    )
    steps: dict[str, Step] = {name: VARIANTS[name](setting) for name in settings.chosen_variants()}
    times: Mapping[str, Timed] = {}
    if ceilings is not None:
        times = time_steps(steps, rounds=settings.rounds, warmup=settings.warmup, say=say)
    counts: dict[str, tuple[Work | None, Held | None]] = {}
    idle: dict[str, float | None] = dict.fromkeys(steps)
    for name, step in steps.items():
        say(f"counting {name}")
        failed = name in times and times[name].failure
        counts[name] = (None, None) if failed else _count(step)
        if not failed and ceilings is not None:
            idle[name] = profile_idle(step)
    lengths = [view_lengths(serializer, trajectory) for trajectory in trajectories]
    bound = {flag: closed_forms(backbone, trajectories, checkpointing=flag) for flag in {False, checkpointing}}
    tokens = sum(context + rest for context, rest in lengths)
    return {
        "mix": mix,
        "checkpointing": checkpointing,
        "examples": settings.examples,
        "tokens": tokens,
        "context": sum(context for context, _ in lengths) / len(lengths),
        "trajectory": sum(rest for _, rest in lengths) / len(lengths),
        "closed_form": {name: {**asdict(parts), "total": parts.total} for name, parts in bound[checkpointing].items()},
        "variants": {
            name: figures(
                *counts[name],
                times.get(name),
                times=times,
                ceilings=ceilings,
                bound=_bound_of(name, bound[checkpointing]),
                useful=_bound_of(name, bound[False]),
                examples=settings.examples,
                tokens=tokens,
                idle=idle[name],
            )
            for name in steps
        },
    }


def _count(step: Step) -> tuple[Work | None, Held | None]:
    """Count a step. Counting takes more memory than the step, so it may run out of memory where the step does not."""
    try:
        return count_work(step), count_memory(step)
    except torch.OutOfMemoryError:
        step.release()
        return None, None


def _bound_of(variant: str, bounds: Mapping[str, StepFlops]) -> int:
    own = "sft" if variant.startswith("sft") else "pearl"
    return bounds.get(variant, bounds[own]).total


def figures(
    work: Work | None,
    held: Held | None,
    timed: Timed | None,
    *,
    times: Mapping[str, Timed],
    ceilings: Ceilings | None,
    bound: int,
    useful: int,
    examples: int,
    tokens: int,
    idle: float | None = None,
) -> dict[str, Any]:
    """Return the figures of one variant, as they stand in a record.

    Args:
        work, held, timed: Work, memory and times of this variant; None if it was not counted or timed.
        times: Times of all variants of the case.
        ceilings: Ceilings of the machine; None if nothing was timed.
        bound: FLOPs of the closed form of this variant's objective.
        useful: The same without the recomputation of checkpointing; the model utilisation counts these.
        examples, tokens: Size of the micro-batch; tokens of the conversations, without padding.
        idle: Share of the step in which a GPU waits; None if it is not known.
    """
    found: dict[str, Any] = {"failure": timed.failure if timed else ""}
    if work is not None and held is not None:
        found["counted"] = {
            **asdict(work),
            **asdict(held),
            "total_flops": work.total_flops,
            "total_operations": work.total_operations,
            "over_closed_form": work.total_flops / bound,
        }
    if timed is None or ceilings is None or not timed.seconds:
        return found
    seconds = Spread.of(timed.seconds)
    phases = {name: median(sample) for name, sample in timed.phases.items()}
    found["timed"] = {
        "seconds": asdict(seconds),
        "samples": [round(value, 7) for value in timed.seconds],
        "phases": phases,
        "examples_per_second": examples / seconds.median,
        "tokens_per_second": tokens / seconds.median,
        "model_utilisation": useful / seconds.median / ceilings.flops,
        "peak_allocated": timed.peak,
        "idle": idle,
        "loss": timed.loss,
        "over": {
            name: asdict(Spread.of([a / b for a, b in zip(timed.seconds, times[name].seconds, strict=True)]))
            for name in REFERENCES
            if name in times and not times[name].failure
        },
    }
    if "sft" in times and not times["sft"].failure:
        rows = zip(timed.phases["row"], times["sft"].phases["row"], strict=True)
        found["timed"]["row_beyond_sft"] = asdict(Spread.of([own - sft for own, sft in rows]))
    if work is not None:
        found["timed"]["hardware_utilisation"] = work.total_flops / seconds.median / ceilings.flops
        found["roofline"] = roofline(work, ceilings, phases)
    return found


def roofline(work: Work, ceilings: Ceilings, seconds: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """Return for every phase with an operation what bounds its time, and how close the phase comes to the bound.

    A phase takes at least the longest of: its FLOPs at the speed of a large matrix product, its bytes at the speed of a
    large copy, its operations at the pace at which empty ones are launched. The byte floor is that of operations run
    one by one, each reading and writing memory: a fused kernel can go below it.

    Args:
        work: Work of the step.
        ceilings: Ceilings of the machine.
        seconds: Measured time, by phase.
    """
    found = {}
    for phase in PHASES:
        if not work.operations[phase]:
            continue
        floors = (
            work.flops[phase] / ceilings.flops,
            work.bytes[phase] / ceilings.bytes,
            work.operations[phase] * ceilings.operation,
        )
        longest = max(floors)
        found[phase] = {
            "intensity": work.flops[phase] / max(work.bytes[phase], 1),
            "floors": dict(zip(ROOFS, floors, strict=True)),
            "bound_by": ROOFS[floors.index(longest)],
            "attained": longest / seconds[phase] if seconds[phase] else None,
        }
    return found


def crossover(
    settings: SuiteSettings, backbone: Backbone, ceilings: Ceilings, mix: str, *, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Return what micro-batches of about the sizes in ``settings.crossover`` cost."""
    scale = SHAPES[settings.shape].lengths
    one = scale * (MIXES[mix].context + MIXES[mix].trajectory)
    serializer = Serializer(processor=backbone.processor, adapter=backbone.adapter)
    rows = []
    for wanted in settings.crossover:
        count = max(1, round(wanted / one))
        say(f"{mix}, {count} examples, about {count * one:.0f} tokens")
        trajectories = make_trajectories(mix, serializer=serializer, count=count, scale=scale, seed=settings.seed)
        setting = Setting(backbone=backbone, trajectories=trajectories, seed=settings.seed)
        steps = {name: VARIANTS[name](setting) for name in COMPARED}
        times = time_steps(steps, rounds=settings.rounds, warmup=settings.warmup)
        row: dict[str, Any] = {"mix": mix, "wanted": wanted, "examples": count, "tokens": round(count * one)}
        row["variants"] = {}
        for name, timed in times.items():
            if timed.failure:
                row["variants"][name] = {"failure": timed.failure}
                continue
            work = count_work(steps[name])
            row["variants"][name] = {
                "failure": "",
                "seconds": asdict(Spread.of(timed.seconds)),
                "arithmetic": work.total_flops / ceilings.flops,
                "launches": work.total_operations * ceilings.operation,
            }
        rows.append(row)
    return rows
