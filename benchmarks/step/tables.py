"""Tables of the training-step suite, made from a record; the page and its Markdown show the same ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jepa_vlm.report.table import Table

Case = Mapping[str, Any]
NOT_MEASURED = "–"


def tables(record: Mapping[str, Any]) -> list[Table]:
    """Return every table that a record has figures for."""
    found = [table for case in record["cases"] for table in _of_case(case)]
    return found + ([_crossover(record)] if record["crossover"] else [])


def case_title(case: Case) -> str:
    """Return what a case is, in words."""
    return (
        f"{case['mix']}, {case['examples']} examples of {case['context']:.0f} + {case['trajectory']:.0f} tokens on "
        f"average, checkpointing {'on' if case['checkpointing'] else 'off'}"
    )


def _of_case(case: Case) -> list[Table]:
    timed = {name: one for name, one in case["variants"].items() if "timed" in one}
    found = [_work(case)]
    if timed:
        found += [_time(case, timed), _phases(case, timed), _roofline(case, timed)]
    return found


def _work(case: Case) -> Table:
    rows = []
    base = case["variants"].get("sft", {}).get("counted")
    for name, one in case["variants"].items():
        counted = one.get("counted")
        if counted is None:
            rows.append((name, one["failure"] or "not counted", *[NOT_MEASURED] * 6))
            continue
        rows.append(
            (
                name,
                si(counted["total_flops"], "FLOP"),
                f"{counted['over_closed_form']:.3f}",
                _over(counted, base, "total_flops"),
                f"{counted['total_operations']:,}",
                si(counted["saved"], "B"),
                si(counted["peak"], "B"),
                _over(counted, base, "peak"),
            )
        )
    bounds = ", ".join(f"{name} {si(parts['total'], 'FLOP')}" for name, parts in case["closed_form"].items())
    return Table(
        f"Counted: {case_title(case)}",
        ("step", "work", "/ closed form", "/ sft", "operations", "saved", "peak", "/ sft"),
        tuple(rows),
        f"Closed form, the lower bound of an exact step: {bounds}. Saved: bytes held for the backward pass. Peak: the "
        "most that the step's tensors hold at once beyond weights and optimiser, before its update.",
    )


def _time(case: Case, timed: Mapping[str, Any]) -> Table:
    rows = []
    for name, one in case["variants"].items():
        if name not in timed:
            rows.append((name, one["failure"] or "not timed", *[NOT_MEASURED] * 8))
            continue
        found = one["timed"]
        seconds = found["seconds"]
        rows.append(
            (
                name,
                si(seconds["median"], "s"),
                f"{si(seconds['low'], 's')} to {si(seconds['high'], 's')}",
                _ratio(found["over"].get("sft")),
                _ratio(found["over"].get("sft_stock")),
                f"{found['tokens_per_second']:,.0f}",
                f"{found['model_utilisation']:.0%}",
                f"{found['hardware_utilisation']:.0%}" if "hardware_utilisation" in found else NOT_MEASURED,
                si(found["peak_allocated"], "B") if found["peak_allocated"] else NOT_MEASURED,
                NOT_MEASURED if found.get("idle") is None else f"{found['idle']:.0%}",
            )
        )
    n = next(iter(timed.values()))["timed"]["seconds"]["n"]
    return Table(
        f"Timed: {case_title(case)}",
        ("step", "median", "10% to 90%", "/ sft", "/ stock", "tokens/s", "MFU", "HFU", "allocated", "idle"),
        tuple(rows),
        f"{n} rounds, all steps in every round; ratios are medians of the rounds' own, ± 3 robust standard errors. "
        "MFU: the closed form's FLOPs, without recomputation, a second, over the speed of a large matrix product; HFU: "
        "the same of the FLOPs counted. Allocated: what a GPU's allocator reports as the step's peak. Idle: the share "
        "of one step under the profiler in which no kernel ran on the GPU.",
    )


def _phases(case: Case, timed: Mapping[str, Any]) -> Table:
    names = list(next(iter(timed.values()))["timed"]["phases"])
    rows = [
        (name, *(si(one["timed"]["phases"][phase], "s") if one["timed"]["phases"][phase] else "0" for phase in names))
        for name, one in timed.items()
    ]
    note = (
        "Inputs: embedding, and placing what a row is fed. Target: rows without gradient. Row: rows with gradient, "
        "[PRED] included."
    )
    beyond = timed.get("pearl", {}).get("timed", {}).get("row_beyond_sft")
    if beyond:
        parts = case["closed_form"]["pearl"]
        note += (
            f" [PRED] alone, row of pearl less row of sft: {si(beyond['median'], 's')} ± "
            f"{si(3 * beyond['error'], 's')}; "
            f"there and back {parts['slots'] / parts['total']:.1%} of the closed form's FLOPs."
        )
    return Table(f"Phases: {case_title(case)}", ("step", *names), tuple(rows), note)


def _roofline(case: Case, timed: Mapping[str, Any]) -> Table:
    rows = []
    for name, one in timed.items():
        for phase, found in one.get("roofline", {}).items():
            floors = found["floors"]
            attained = NOT_MEASURED if found["attained"] is None else f"{found['attained']:.0%}"
            rows.append(
                (
                    f"{name}: {phase}",
                    f"{found['intensity']:.1f}",
                    *(si(floors[roof], "s") for roof in ("arithmetic", "memory", "launches")),
                    found["bound_by"],
                    attained,
                )
            )
    return Table(
        f"Roofline: {case_title(case)}",
        ("phase", "FLOP / byte", "arithmetic", "memory", "launches", "bound by", "of that bound"),
        tuple(rows),
        "Least times of a phase: its FLOPs at the speed of a large matrix product, its bytes at that of a large copy, "
        "its operations at the pace of empty ones. The longest binds; the last column is how close the phase comes to "
        "it. Bytes are those of operations run one by one, which fused kernels and caches can go below.",
    )


def _crossover(record: Mapping[str, Any]) -> Table:
    rows = []
    for row in record["crossover"]:
        for name, one in row["variants"].items():
            if one["failure"]:
                rows.append((f"{row['mix']}: {name}", f"{row['tokens']:,}", one["failure"], *[NOT_MEASURED] * 4))
                continue
            median = one["seconds"]["median"]
            rows.append(
                (
                    f"{row['mix']}: {name}",
                    f"{row['tokens']:,}",
                    si(median, "s"),
                    f"{1e6 * median / row['tokens']:.0f} µs",
                    si(one["arithmetic"], "s"),
                    si(one["launches"], "s"),
                    "launches" if one["launches"] > one["arithmetic"] else "arithmetic",
                )
            )
    return Table(
        "Micro-batches of several sizes",
        ("step", "tokens", "median", "a token", "arithmetic", "launches", "bound by"),
        tuple(rows),
        "A step is no faster than its arithmetic at the speed of a large matrix product, nor than its operations at "
        "the pace of empty ones. Where the second is longer, a larger micro-batch costs nothing.",
    )


def si(value: float, unit: str) -> str:
    """Return a number with three digits and a decimal prefix."""
    for factor, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1, "")):
        if abs(value) >= factor:
            return f"{_three(value / factor)} {prefix}{unit}"
    for factor, prefix in ((1e-3, "m"), (1e-6, "µ")):
        if abs(value) >= factor:
            return f"{_three(value / factor)} {prefix}{unit}"
    return f"0 {unit}" if value == 0 else f"{value:.2g} {unit}"


def _three(value: float) -> str:
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f}"


def _over(counted: Mapping[str, Any], base: Mapping[str, Any] | None, name: str) -> str:
    return f"{counted[name] / base[name]:.2f}" if base else NOT_MEASURED


def _ratio(spread: Mapping[str, float] | None) -> str:
    return f"{spread['median']:.2f} ± {3 * spread['error']:.2f}" if spread else NOT_MEASURED
