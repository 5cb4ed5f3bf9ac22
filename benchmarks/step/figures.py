"""From counts and times to the figures of one variant, as they stand in a record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from statistics import median
from typing import Any

from jepa_vlm.bench.ceilings import Ceilings
from jepa_vlm.bench.count import Held, Work
from jepa_vlm.bench.roofline import roofline
from jepa_vlm.bench.spread import Spread
from jepa_vlm.bench.timing import Timed

REFERENCES = ("sft", "sft_stock")  # what others are divided by, round by round


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
    """Return the figures.

    Args:
        work, held, timed: Of this variant; None where it was not counted or timed.
        times: Of all variants of the case.
        ceilings: Of the machine; None if nothing was timed.
        bound: FLOPs of the closed form of this variant's objective.
        useful: The same without the recomputation of checkpointing: what the model utilisation counts.
        examples, tokens: Of the micro-batch; tokens of the conversations, without padding.
        idle: Share of the step in which a GPU waits; None where none was seen.
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
