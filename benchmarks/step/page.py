"""The page of the step suite: one section for each record, in HTML and in Markdown."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.step.page_figures import crossover_svg, phases_svg, ratios_svg
from jepa_vlm.report.page import NOT_MEASURED, Table, markdown_table, si, write_page
from jepa_vlm.whole_files import write_whole

TITLE = "What a training step costs"
TEMPLATE = Path(__file__).with_name("page.html")
CLOCKS = {"cuda": "CUDA events"}


def write_step_page(records: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write a page of records, and beside it the same tables as Markdown.

    Args:
        records: Of ``python -m benchmarks.step``.
        path: Of the page, ``.html``.

    Raises:
        JepaVLMError: If jinja2 or matplotlib is not installed.
    """
    sections = [_section(record, f"step-{number}") for number, record in enumerate(records)]
    write_page(TEMPLATE, path, {"title": TITLE, "sections": sections})
    write_whole(path.with_suffix(".md"), step_markdown(records))


def step_markdown(records: Sequence[Mapping[str, Any]]) -> str:
    """Return the tables of records as Markdown."""
    parts = [f"# {TITLE}"]
    for record in records:
        facts = "; ".join(f"{name}: {value}" for name, value in _facts(record))
        parts += [f"## {_title(record)}", f"```bash\n{_commands(record)}\n```", f"{facts}.", *_notes(record)]
        parts += [markdown_table(table) for table in tables(record)]
    return "\n\n".join(parts) + "\n"


def _section(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    cases = record["cases"]
    return {
        "title": _title(record),
        "facts": _facts(record),
        "unit": "Time" if _ceilings(record) else "FLOPs",
        "ratios": ratios_svg(cases, name=f"{name}-ratios"),
        "phases": phases_svg(cases, name=f"{name}-phases"),
        "crossover": crossover_svg(record["crossover"], name=f"{name}-crossover") if record["crossover"] else None,
        "tables": tables(record),
        "notes": _notes(record),
        "command": _commands(record),
    }


def _commands(record: Mapping[str, Any]) -> str:
    return "\n".join(shlex.join(call["command"]) for call in record["calls"])


def _notes(record: Mapping[str, Any]) -> list[str]:
    """Return what the calls' makers had to say, each once."""
    return list(dict.fromkeys(call["note"] for call in record["calls"] if call["note"]))


def _ceilings(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the roofs, medians over the calls; empty where nothing was timed."""
    measured = [call["ceilings"] for call in record["calls"] if call["ceilings"]]
    return {name: median(roofs[name] for roofs in measured) for name in measured[0]} if measured else {}


def _title(record: Mapping[str, Any]) -> str:
    machine = record["machine"]
    where = "counted on the meta device" if machine["kind"] == "meta" else machine.get("gpu") or machine["cpu"]
    return f"{record['config']['shape']}: {where}"


def _facts(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    config, roofs = record["config"], _ceilings(record)
    facts = [
        ("shape", config["note"]),
        ("weights", f"random, {config['dtype']}"),
        ("LoRA rank", str(config["lora_rank"])),
    ]
    if roofs:
        facts += [
            ("matrix product", si(roofs["flops"], "FLOP/s")),
            ("copy", si(roofs["bytes"], "B/s")),
            ("empty operation", si(roofs["operation"], "s")),
            ("clock", CLOCKS.get(record["machine"]["kind"], "processor time of all threads")),
            ("threads", str(record["machine"]["threads"])),
            ("deterministic kernels", "yes" if config["deterministic"] else "no"),
        ]
    facts += [("stock attention", config["stock_attention"]), ("seed", str(config["seed"]))]
    facts += [(name, record["versions"][name]) for name in ("torch", "transformers", "peft")]
    commit, edited, _ = str(record["commit"]).partition("-dirty")
    return [*facts, ("commit", commit[:12] + edited)]


Case = Mapping[str, Any]


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


def _over(counted: Mapping[str, Any], base: Mapping[str, Any] | None, name: str) -> str:
    return f"{counted[name] / base[name]:.2f}" if base else NOT_MEASURED


def _ratio(spread: Mapping[str, float] | None) -> str:
    return f"{spread['median']:.2f} ± {3 * spread['error']:.2f}" if spread else NOT_MEASURED
