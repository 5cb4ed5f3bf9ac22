"""What is known of an arm before it trains: its values, and what a trajectory costs, counted on its first batches."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from accelerate.utils import send_to_device

from jepa_vlm.cost import AliveBytes, FlopCounter
from jepa_vlm.errors import JepaVLMError
from jepa_vlm.evaluation.files import write_whole
from jepa_vlm.generation.answering import Plain
from jepa_vlm.runs.plan import Plan, plan_run
from jepa_vlm.runs.settings import Asked
from jepa_vlm.training.order import MicroBatches, Passes, cut
from jepa_vlm.training.term_schedule import TrainCollator

COUNTED = 32  # trajectories whose FLOPs and tokens are counted


def measure_facts(asked: Asked, to: Path) -> None:
    """Plan a run, count what its first micro-batches cost, and write both down."""
    plan = plan_run(asked)
    facts = {**facts_of(plan.config()), "cost": count_cost(plan)}
    write_whole(to, json.dumps(facts, indent=1) + "\n")


def measure_cost(asked: Asked, config: Mapping[str, Any], to: Path) -> None:
    """Write down what is known of a finished run; its cost is missing where its run cannot be planned again."""
    try:
        cost, why = count_cost(plan_run(asked)), ""
    except (JepaVLMError, OSError) as err:
        cost, why = None, str(err)
    write_whole(to, json.dumps({**facts_of(config), "cost": cost, "cost_missing": why}, indent=1) + "\n")


def facts_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run's config.json says that a comparison needs."""
    values = {
        name: held["value"]
        for name, held in config.items()
        if isinstance(held, dict) and held.keys() == {"value", "origin"}
    }
    by_tokens = config.get("micro_batches")
    size = values["batch_size"] if by_tokens is None else by_tokens["examples"] / by_tokens["micro_batches"]
    return {
        "values": values,
        "terms": config.get("terms", {}),
        "inference": config.get("inference", Plain().name),
        "examples": config["examples"],
        "trained": sum(part["trainable"] for part in config["parts"]),
        "per_step": size * values["accumulation"],
    }


def asked_again(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what to ask for to plan a finished run again, as fields of ``Asked``."""
    values = facts_of(config)["values"]
    known = {item.name for item in fields(Asked)} - {"report_to", "recipe", "parameters"}
    parameters = {
        name.removeprefix("parameter."): value for name, value in values.items() if name.startswith("parameter.")
    }
    chosen = {name: value for name, value in values.items() if name in known and value is not None}
    if "batch_tokens" in chosen:
        del chosen["batch_size"]
    return {"recipe": values["recipe"], "parameters": parameters, **chosen}


def count_cost(plan: Plan) -> dict[str, Any]:
    """Return what one trajectory costs on average, and the most bytes that a micro-batch's own tensors hold at once.

    Tokens are those that the decoder computes, whatever view they are of; FLOPs those of forward and backward, counted
    while they run. A term that loss dropout leaves out of a step is left out here too.
    """
    model, collator = plan.model, plan.model.collator()
    model.train()
    micro_batches = list(_micro_batches(plan))
    shown = [trajectory for one in micro_batches for trajectory in one.trajectories]
    train = TrainCollator(collator, plan.schedule)
    batches = [send_to_device(train([one]), model.device) for one in micro_batches]
    with FlopCounter() as flops:
        for batch in batches:
            model(batch).total.backward()
    model.zero_grad()
    sizes = [sum(collator.tokens(one.trajectories)) for one in micro_batches]
    with AliveBytes() as memory:
        model(batches[sizes.index(max(sizes))]).total.backward()
    return {
        "trajectories": len(shown),
        "tokens": sum(sizes) / len(shown),
        "flops": flops.total / len(shown),
        "step_memory": memory.peak,
    }


def _micro_batches(plan: Plan) -> Iterator[Any]:
    """Yield the run's own first micro-batches."""
    size, passes = plan["batch_size"], Passes(examples=plan.train.kept, seed=plan["seed"])
    if (filled := plan.filling) is None:
        count = -(-COUNTED // size)
        starts: Sequence[int] = range(0, (count + 1) * size, size)
    else:
        count = -(-COUNTED * filled.micro_batches // filled.examples)
        starts = cut(passes, plan.decoded or (), budget=filled.budget, micro_batches=count)
    order = MicroBatches(examples=plan.train.kept, passes=passes, starts=starts, per_step=plan["accumulation"])
    yield from (order[number] for number in range(count))
