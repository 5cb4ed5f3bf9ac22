"""The training-step suite: every variant on every length mix, counted and timed, as one record."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch

from jepa_vlm.adapters import Backbone
from jepa_vlm.bench.ceilings import Ceilings, measure_ceilings
from jepa_vlm.bench.count import Held, Work, count_memory, count_work
from jepa_vlm.bench.crossover import crossover
from jepa_vlm.bench.figures import figures
from jepa_vlm.bench.idle import profile_idle
from jepa_vlm.bench.machine import machine
from jepa_vlm.bench.mixes import make_trajectories, view_lengths
from jepa_vlm.bench.record import SCHEMA
from jepa_vlm.bench.settings import SuiteSettings
from jepa_vlm.bench.shapes import SHAPES, build_backbone, lora_rank
from jepa_vlm.bench.sizes import example_sizes
from jepa_vlm.bench.step import Setting, Step
from jepa_vlm.bench.timing import Timed, time_steps
from jepa_vlm.bench.variants import VARIANTS, lvr_objective, pearl_objective
from jepa_vlm.cost import Shape, StepFlops, pearl_step, sft_step
from jepa_vlm.evaluation import commit, versions
from jepa_vlm.latent_vlm import LatentVLM
from jepa_vlm.objectives import NextToken
from jepa_vlm.serialization import Serializer
from jepa_vlm.trajectories import Trajectory

Say = Callable[[str], None]


def run_suite(
    settings: SuiteSettings, *, command: Sequence[str] = (), note: str = "", say: Say = lambda _: None
) -> dict[str, Any]:
    """Measure everything that the settings ask for and return the record, plain JSON values.

    Args:
        settings: What is measured.
        command: That asked for it, for the record.
        note: What a reader of the record should know, such as what else the machine did.
        say: Told what goes on.
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
    """Count a step; counting holds more than the step itself, so that memory may run out over it alone."""
    try:
        return count_work(step), count_memory(step)
    except torch.OutOfMemoryError:
        step.release()
        return None, None


def closed_forms(
    backbone: Backbone, trajectories: Sequence[Trajectory], *, checkpointing: bool
) -> dict[str, StepFlops]:
    """Return the closed forms on these examples: of the next-token step, Pearl, Pearl with stored targets, LVR."""
    shape, dim = Shape.of(backbone.base.config, lora_rank=lora_rank(backbone)), backbone.dim
    sft = example_sizes(LatentVLM(backbone, NextToken()), trajectories)
    pearl = example_sizes(LatentVLM(backbone, pearl_objective()), trajectories, horizon=1)
    lvr = example_sizes(LatentVLM(backbone, lvr_objective()), trajectories)  # a next-token step on a view of its own
    stored = [replace(example, trajectory=0) for example in pearl]
    widths = (2 * dim, dim, dim, dim)
    return {
        "sft": sft_step(shape, sft, checkpointing=checkpointing),
        "pearl": pearl_step(shape, pearl, next_widths=widths, checkpointing=checkpointing),
        "pearl_cached": pearl_step(shape, stored, next_widths=widths, checkpointing=checkpointing),
        "lvr": sft_step(shape, lvr, checkpointing=checkpointing),
    }


def _bound_of(variant: str, bounds: Mapping[str, StepFlops]) -> int:
    own = "sft" if variant.startswith("sft") else "pearl"
    return bounds.get(variant, bounds[own]).total
