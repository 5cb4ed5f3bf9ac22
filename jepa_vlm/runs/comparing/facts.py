"""What is known of an arm before it trains: its values, what a trajectory costs, and how many steps match a budget.

The cost of a trajectory is counted on the first micro-batches of its run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, final

from accelerate.utils import send_to_device

from jepa_vlm.cost import AliveBytes, FlopCounter
from jepa_vlm.errors import JepaVLMError, RunError
from jepa_vlm.generation.answering import Plain
from jepa_vlm.runs.plan import Plan, plan_run
from jepa_vlm.runs.settings import RECORDED, Match, RunSettings
from jepa_vlm.training.order import MicroBatches, Passes, cut
from jepa_vlm.training.run_config import RunConfig
from jepa_vlm.training.term_schedule import TrainCollator
from jepa_vlm.whole_files import write_whole

COUNTED = 32  # trajectories whose FLOPs and tokens are counted


@final
@dataclass(frozen=True)
class Cost:
    """What training on one trajectory costs, on average over the first micro-batches of a run.

    Args:
        trajectories: Number of trajectories that were counted.
        tokens: Tokens that the decoder computes for a trajectory.
        flops: FLOPs of forward and backward.
        step_memory: Most bytes that the tensors of one micro-batch hold at once.
    """

    trajectories: int
    tokens: float
    flops: float
    step_memory: int


@final
@dataclass(frozen=True)
class ArmFacts:
    """What is known of an arm before it trains, or of a finished run.

    Args:
        values: Resolved settings by name.
        terms: Terms of the objective, as text.
        inference: How the trained model answers.
        examples: Numbers of trajectories to train on and to hold out.
        trained: Number of parameters that train.
        per_step: Trajectories of an optimiser step; the mean, where micro-batches are cut by tokens.
        cost: None if a finished run cannot be planned again.
        cost_missing: Why there is no cost.
    """

    values: Mapping[str, Any]
    terms: Mapping[str, str]
    inference: str
    examples: Mapping[str, int]
    trained: int
    per_step: float
    cost: Cost | None = None
    cost_missing: str = ""

    @classmethod
    def of(cls, config: RunConfig) -> ArmFacts:
        """Return the facts that a run's configuration holds, which are all but the cost."""
        values, record = config.values, config.record
        by_tokens = record.get("micro_batches")
        size = values["batch_size"] if by_tokens is None else by_tokens["examples"] / by_tokens["micro_batches"]
        return cls(
            values=values,
            terms=record.get("terms", {}),
            inference=record.get("inference", Plain().name),
            examples=record["examples"],
            trained=sum(part["trainable"] for part in record["parts"]),
            per_step=size * values["accumulation"],
        )

    @classmethod
    def read(cls, path: Path) -> ArmFacts:
        """Read a file that ``write`` wrote."""
        held = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**held, "cost": held["cost"] and Cost(**held["cost"])})

    def write(self, path: Path) -> None:
        """Write the facts as JSON."""
        write_whole(path, json.dumps(asdict(self), indent=1) + "\n")

    def step_cost(self, by: Match, name: str) -> float:
        """Return the tokens or the FLOPs of one step.

        Raises:
            RunError: If they were not counted; the message names the arm.
        """
        if self.cost is None:
            raise RunError(f"What {name} costs could not be counted ({self.cost_missing}); match by steps instead.")
        return self.per_step * (self.cost.tokens if by == "tokens" else self.cost.flops)


def measure_facts(recipe: str, settings: RunSettings, to: Path) -> None:
    """Plan a run, count what its first micro-batches cost, and write both down."""
    plan = plan_run(recipe, settings)
    replace(ArmFacts.of(RunConfig(to, plan.config())), cost=count_cost(plan)).write(to)


def measure_cost(config: RunConfig, to: Path) -> None:
    """Write down what is known of a finished run; its cost is missing where its run cannot be planned again."""
    try:
        cost, why = count_cost(plan_run(config.values["recipe"], settings_again(config))), ""
    except (JepaVLMError, OSError) as err:
        cost, why = None, str(err)
    replace(ArmFacts.of(config), cost=cost, cost_missing=why).write(to)


def settings_again(config: RunConfig) -> RunSettings:
    """Return the settings with which a finished run is planned again."""
    known = {name for name in RECORDED if name != "report_to"}
    chosen = {name: value for name, value in config.values.items() if name in known and value is not None}
    if "batch_tokens" in chosen:
        del chosen["batch_size"]
    return RunSettings(parameters=config.parameters, **chosen)


def count_cost(plan: Plan) -> Cost:
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
    return Cost(len(shown), sum(sizes) / len(shown), flops.total / len(shown), memory.peak)


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


def matched_steps(by: Match, reference: str, facts: Mapping[str, ArmFacts]) -> dict[str, int]:
    """Return each arm's steps; the steps of the reference stay as they are.

    Args:
        by: ``steps``: every arm takes the reference's. ``tokens`` and ``flops``: as many steps as come closest to what
            the reference spends, at least one.
        reference: The arm whose steps are the budget.
        facts: Facts of each arm.

    Raises:
        RunError: If a cost that is needed was not counted.
    """
    steps = int(facts[reference].values["steps"])
    if by == "steps":
        return dict.fromkeys(facts, steps)
    budget = steps * facts[reference].step_cost(by, reference)
    return {name: max(1, round(budget / one.step_cost(by, name))) for name, one in facts.items()}
