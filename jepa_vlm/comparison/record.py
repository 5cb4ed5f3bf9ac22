"""Accuracies, differences and ablations of a comparison as plain values: every table and page is drawn from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, final

from jepa_vlm.comparison.significance import (
    Spread,
    detectable_by_mcnemar,
    detectable_by_t,
    holm,
    over_items,
    over_seeds_and_items,
)
from jepa_vlm.errors import DataError
from jepa_vlm.evaluation import Evaluation, Scored, mcnemar_exact, wilson_interval

ALL = ""  # the task under which all items of a benchmark stand
MCNEMAR, SEEDS = "exact McNemar", "seeds and items"


@final
@dataclass(frozen=True)
class Answered:
    """One checkpoint.

    Args:
        arm: Name of its arm.
        seed: Random seed of its training; None for a model that no seed of the comparison decides.
        evaluations: Evaluation of each benchmark; its headline counts.
    """

    arm: str
    seed: int | None
    evaluations: Mapping[str, Evaluation]

    def scored(self, benchmark: str) -> Scored:
        """Return the headline of a benchmark."""
        return self.evaluations[benchmark].scored[0]

    def marks(self, benchmark: str, task: str | None = None) -> list[bool]:
        """Return whether each item was right, of one task or of all, in the items' order."""
        return [one.correct for one in self.scored(benchmark).answers if task is None or one.task == task]


def accuracy_record(models: Sequence[Answered], baselines: Mapping[str, str | None]) -> dict[str, Any]:
    """Return what the answers say.

    Args:
        models: Every checkpoint of every arm, in the order of the arms.
        baselines: For each arm, the arm that it is compared with, or None.

    Returns:
        ``columns``: the benchmarks, with items, chance and tasks; ``accuracy``: by benchmark, task ("" for all) and
        arm, mean, std, least, most, Wilson's interval at the mean with as many items as there are (not items times
        seeds: all seeds answer the same ones), whether it is the best, and the difference to the baseline; ``runs``:
        by checkpoint, the same counts, and McNemar's test against the baseline's checkpoint of the same seed;
        ``family``: how many tests Holm's correction is over.

    Raises:
        DataError: If the models did not answer the same items.
        JepaVLMError: If scipy is not installed.
    """
    check_same_items(models)
    arms: dict[str, list[Answered]] = {}
    for model in models:
        arms.setdefault(model.arm, []).append(model)
    columns = [_column(models[0], benchmark) for benchmark in models[0].evaluations]
    accuracy = {
        column["benchmark"]: {
            task: _of_arms(arms, column["benchmark"], task or None, baselines) for task in (ALL, *column["tasks"])
        }
        for column in columns
    }
    tests = [one["against"] for tasks in accuracy.values() for one in tasks[ALL].values() if one["against"] is not None]
    for test, adjusted in zip(tests, holm([test["p_value"] for test in tests]), strict=True):
        test["p_holm"] = adjusted
    return {
        "columns": columns,
        "accuracy": accuracy,
        "runs": [_run(model, arms.get(baselines.get(model.arm) or "", [])) for model in models],
        "family": len(tests),
    }


def _column(model: Answered, benchmark: str) -> dict[str, Any]:
    scored = model.scored(benchmark)
    tasks = {task: one.n for task, one in scored.tasks.items()} if len(scored.tasks) > 1 else {}
    return {
        "benchmark": benchmark,
        "n": scored.overall.n,
        "chance": scored.overall.chance,
        "tasks": tasks,
        "published": dict(model.evaluations[benchmark].published),
    }


def _of_arms(
    arms: Mapping[str, Sequence[Answered]], benchmark: str, task: str | None, baselines: Mapping[str, str | None]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for arm, models in arms.items():
        right, n = [sum(model.marks(benchmark, task)) for model in models], len(models[0].marks(benchmark, task))
        spread = Spread.of([count / n for count in right])
        low, high = wilson_interval(round(sum(right) / len(right)), n)
        other = arms.get(baselines.get(arm) or "") if task is None else None
        against = _against(models, other, benchmark) if other else None
        found[arm] = {**asdict(spread), "checkpoints": len(models), "n": n, "low": low, "high": high}
        found[arm]["against"] = against and {"baseline": baselines[arm], **against}
    best = max(one["mean"] for one in found.values())
    for one in found.values():
        one["best"] = one["mean"] == best
    return found


def _against(models: Sequence[Answered], others: Sequence[Answered], benchmark: str) -> dict[str, Any] | None:
    """Return the difference to the baseline: of two checkpoints, or over the seeds that both sides have."""
    pairs = _paired(models, others)
    if not pairs:
        return None
    firsts, seconds = ([side.marks(benchmark) for side in sides] for sides in zip(*pairs, strict=True))
    items = asdict(over_items(firsts, seconds))
    if len(pairs) == 1:
        test = mcnemar_exact(firsts[0], seconds[0])
        counts = {"only_first": test.only_a, "only_second": test.only_b}
        least = detectable_by_mcnemar(test.n, test.only_a + test.only_b)
        common = {"test": MCNEMAR, "pairs": 1, "p_value": test.p_value, "detectable": least}
        return {**items, **common, **counts, "items": items}
    found = over_seeds_and_items(firsts, seconds)
    return {
        "value": float(found.value),
        "low": max(-1.0, float(found.low)),  # no difference of shares is larger
        "high": min(1.0, float(found.high)),
        "test": SEEDS,
        "pairs": len(pairs),
        "p_value": float(found.p_value),
        "detectable": detectable_by_t(float(found.error), found.df) if found.error > 0 else None,
        "items": items,
    }


def _paired(models: Sequence[Answered], others: Sequence[Answered]) -> list[tuple[Answered, Answered]]:
    """Return checkpoints of the same seed; a model that no seed decides goes with every one of the other side."""
    by_seed = {other.seed: other for other in others}
    if None in by_seed:
        return [(model, by_seed[None]) for model in models]
    if models[0].seed is None:
        return [(models[0], other) for other in others]
    return [(model, by_seed[model.seed]) for model in models if model.seed in by_seed]


def _run(model: Answered, others: Sequence[Answered]) -> dict[str, Any]:
    pairs = _paired([model], others) if others else []
    found: dict[str, Any] = {"arm": model.arm, "seed": model.seed, "accuracy": {}, "against": {}}
    for benchmark in model.evaluations:
        scored = model.scored(benchmark)
        found["accuracy"][benchmark] = {ALL: asdict(scored.overall)} | {
            task: asdict(one) for task, one in (scored.tasks.items() if len(scored.tasks) > 1 else ())
        }
        if len(pairs) == 1:
            test = mcnemar_exact(model.marks(benchmark), pairs[0][1].marks(benchmark))
            found["against"][benchmark] = {
                "seed": pairs[0][1].seed,
                "only_first": test.only_a,
                "only_second": test.only_b,
                "p_value": test.p_value,
            }
    return found


def check_same_items(models: Sequence[Answered]) -> None:
    """Refuse models that did not answer the same items in the same order.

    Their protocols may differ: each answers in its own way.

    Raises:
        DataError: If they did not, or there is no model.
    """
    if not models:
        raise DataError("A comparison needs at least one model's answers, got none.")
    first = models[0]
    for other in models[1:]:
        if other.evaluations.keys() != first.evaluations.keys():
            raise DataError(
                f"All models must answer the same benchmarks; {first.arm} answered {', '.join(first.evaluations)}, "
                f"{other.arm} {', '.join(other.evaluations)}."
            )
        for benchmark in first.evaluations:
            asked = [[(a.id, a.truth, a.task) for a in one.scored(benchmark).answers] for one in (first, other)]
            if asked[0] != asked[1]:
                raise DataError(
                    f"All models must answer the same items; on {benchmark}, those of {first.arm} and {other.arm} are "
                    "not the same. Evaluate both again with the same count and seed."
                )


@final
@dataclass(frozen=True)
class Trained:
    """What an arm trained.

    Args:
        arm: Its name.
        terms: Terms of its objective by name, each with its weight as text.
        values: All other values that decide its runs: data, adapter, optimiser.
    """

    arm: str
    terms: Mapping[str, str]
    values: Mapping[str, Any]


def ablations(arms: Sequence[Trained]) -> list[dict[str, Any]]:
    """Return for every arm that others are parts of: those others, with the terms that each leaves out.

    One arm is another one without some terms if every term of it is a term of the other, weight included, and all its
    other values are the same. An arm that is itself part of a larger one heads no list of its own.

    Returns:
        ``{"full": ARM, "rows": [{"arm": ARM, "without": [TERM, ...]}, ...]}``, the fullest rows first.
    """
    found = []
    for full in arms:
        parts = [one for one in arms if _is_part(one, full)]
        if not parts or any(_is_part(full, larger) for larger in arms):
            continue
        parts.sort(key=lambda one: -len(one.terms))
        rows = [{"arm": one.arm, "without": [name for name in full.terms if name not in one.terms]} for one in parts]
        found.append({"full": full.arm, "rows": rows})
    return found


def _is_part(one: Trained, full: Trained) -> bool:
    fewer = len(one.terms) < len(full.terms) and one.terms.items() <= full.terms.items()
    return fewer and bool(one.terms) and one.values == full.values
