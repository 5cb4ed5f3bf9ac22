"""The page of the training-step suite: one section for each record, in HTML and in Markdown."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from jepa_vlm.report.page import write_page
from jepa_vlm.report.step_figures import crossover_svg, phases_svg, ratios_svg
from jepa_vlm.report.step_tables import si, tables
from jepa_vlm.report.table import markdown_table
from jepa_vlm.whole_files import write_whole

TITLE = "What a training step costs"
CLOCKS = {"cuda": "CUDA events"}


def write_step_page(records: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write a page of records, and beside it the same tables as Markdown.

    Args:
        records: Of ``jepa-vlm bench step``.
        path: Of the page, ``.html``.

    Raises:
        JepaVLMError: If jinja2 or matplotlib is not installed.
    """
    sections = [_section(record, f"step-{number}") for number, record in enumerate(records)]
    write_page("step.html", path, {"title": TITLE, "sections": sections})
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
