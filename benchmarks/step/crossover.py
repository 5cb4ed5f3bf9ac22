"""How large a micro-batch must be before arithmetic, and not the launching of operations, sets a step's time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from jepa_vlm.bench.ceilings import Ceilings
from jepa_vlm.bench.count import count_work
from jepa_vlm.bench.mixes import MIXES, make_trajectories
from jepa_vlm.bench.settings import SuiteSettings
from jepa_vlm.bench.shapes import SHAPES
from jepa_vlm.bench.spread import Spread
from jepa_vlm.bench.step import Setting
from jepa_vlm.bench.timing import time_steps
from jepa_vlm.bench.variants import VARIANTS

from jepa_vlm.adapters import Backbone
from jepa_vlm.serialization import Serializer

COMPARED = ("sft", "pearl")


def crossover(
    settings: SuiteSettings, backbone: Backbone, ceilings: Ceilings, mix: str, *, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Return, for each number of tokens asked for, what a micro-batch of about that size costs."""
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
