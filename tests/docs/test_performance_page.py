"""The page on performance: its tables are what the closed forms say today and what the records hold."""

from __future__ import annotations

import functools
import json
import re
import shlex
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from benchmarks.mixes import MIXES, make_trajectories
from benchmarks.shapes import SHAPES, build_backbone, lora_rank
from benchmarks.step import suite
from benchmarks.step.__main__ import app
from benchmarks.step.closed_form import closed_forms
from benchmarks.step.variants import VARIANTS, pearl_objective
from jepa_vlm.cost import MicroBatchSize, Shape, step_memory
from jepa_vlm.latent_vlm import LatentVLM
from jepa_vlm.serialization import Serializer
from tests.benchmarks.step.records import record

PROJECT = Path(__file__).resolve().parents[2]
PAGE = (PROJECT / "docs" / "performance.md").read_text(encoding="utf-8")
RESULTS = PROJECT / "benchmarks" / "results"
NONE = "–"
CARDS, LEFT, GB = (24, 48, 80, 141), 2, 10**9
SLOTS = 4


@functools.cache
def backbone_of(name):
    return build_backbone(SHAPES[name], device=torch.device("meta"), dtype=torch.bfloat16)


def price(name, mix, *, checkpointing):
    backbone = backbone_of(name)
    serializer = Serializer(processor=backbone.processor, adapter=backbone.adapter)
    found = closed_forms(backbone, make_trajectories(mix, serializer=serializer, count=4), checkpointing=checkpointing)
    return found["pearl"].total / found["sft"].total


def bound_rows():
    for mix, size in MIXES_BY_LENGTH:
        cells = [f"{price(name, mix, checkpointing=flag):.2f}" for name in ("3b", "7b") for flag in (False, True)]
        yield f"| {mix}: {size.context} + {size.trajectory} | " + " | ".join(cells) + " |"


def largest(name, mix, card, *, checkpointing):
    backbone, size = backbone_of(name), MIXES[mix]
    model = LatentVLM(backbone, pearl_objective())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    held = sum(p.numel() * p.element_size() for p in model.parameters()) + 3 * 4 * trained
    shape, count = Shape.of(backbone.base.config, lora_rank=lora_rank(backbone)), 0
    while True:
        batch = MicroBatchSize(
            tokens=round((count + 1) * (size.context + size.trajectory + SLOTS)),
            seen=round((count + 1) * (size.context + SLOTS)),
            detached=(count + 1) * size.trajectory,
            supervised=round((count + 1) * (1 - size.shown) * size.trajectory),
            states=(count + 1) * size.trajectory,
            patches=round((count + 1) * 4 * (size.seen * size.context + size.shown * size.trajectory)),
        )
        peak = step_memory(shape, batch, checkpointing=checkpointing).peak
        if held + peak + LEFT * GB > card * GB:
            return count
        count += 1


def card_rows():
    for name in ("3b", "7b"):
        for mix, _ in MIXES_BY_LENGTH:
            cells = [
                " / ".join(str(largest(name, mix, card, checkpointing=flag)) for flag in (False, True))
                for card in CARDS
            ]
            yield f"| {name.upper()}, {mix} | " + " | ".join(cells) + " |"


MIXES_BY_LENGTH = [(mix, MIXES[mix]) for mix in ("lvr", "pixelreasoner", "thinkmorph")]


@pytest.mark.slow
def test_the_bounds_are_the_closed_forms():
    for row in bound_rows():
        assert row in PAGE, row


@pytest.mark.slow
def test_what_fits_a_card_is_what_the_estimate_says():
    for row in card_rows():
        assert row in PAGE, row


def test_every_step_of_the_suite_has_its_row():
    suite = PAGE.split("## The suite")[1]
    assert set(re.findall(r"^\| `(\w+)` \|", suite, re.MULTILINE)) == set(VARIANTS)


def measured(name):
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def where(found, case):
    shape = found["config"]["shape"]
    return (
        f"| {shape.upper() if shape != 'tiny' else shape}, {case['mix']}{', checkpointing' * case['checkpointing']} |"
    )


def over_sft(case, variant, figure):
    one, base = (case["variants"].get(name, {}).get("counted") for name in (variant, "sft"))
    return f"{one[figure] / base[figure]:.2f}" if one else NONE


def work_rows():
    for name in ("step_3b_meta", "step_7b_meta"):
        found = measured(name)
        for case in found["cases"]:
            ratios = [
                over_sft(case, v, "total_flops") for v in ("pearl", "pearl_cached", "sft_stock", "pearl_released")
            ]
            forms = [
                f"{case['variants'][v]['counted']['over_closed_form']:.3f}" for v in ("sft", "pearl", "pearl_cached")
            ]
            yield f"{where(found, case)} " + " | ".join([*ratios, *forms]) + " |"


def memory_rows():
    for name in ("step_3b_meta", "step_7b_meta"):
        found = measured(name)
        for case in found["cases"]:
            peak = case["variants"]["sft"]["counted"]["peak"]
            ratios = [over_sft(case, v, "peak") for v in ("pearl", "pearl_cached", "sft_stock", "pearl_released")]
            ratios += [over_sft(case, v, "total_operations") for v in ("pearl", "sft_stock")]
            yield f"{where(found, case)} {peak / 1e9:.1f} GB | " + " | ".join(ratios) + " |"


def time_rows():
    found = measured("step_tiny_cpu")
    for case in found["cases"]:
        cells = []
        for variant in ("pearl", "pearl_cached", "sft_stock", "pearl_separate", "pearl_released"):
            one = case["variants"].get(variant)
            spread = one["timed"]["over"]["sft"] if one else None
            cells.append(f"{spread['median']:.2f} ± {3 * spread['error']:.2f}" if spread else NONE)
        yield f"{where(found, case)} " + " | ".join(cells) + " |"


@pytest.mark.parametrize("rows", [work_rows, memory_rows, time_rows])
def test_what_was_measured_is_what_the_records_hold(rows):
    found = list(rows())
    assert len(found) >= 3
    for row in found:
        assert row in PAGE, row


def test_the_committed_records_hold_the_targets():
    """What can be counted without a GPU: work against its bound, and a stored target's price."""
    for name in ("step_3b_meta", "step_7b_meta"):
        for case in measured(name)["cases"]:
            counted = {variant: one["counted"] for variant, one in case["variants"].items()}
            for variant in ("sft", "pearl", "pearl_cached"):
                assert counted[variant]["over_closed_form"] == pytest.approx(1, rel=0.03)
            assert counted["pearl_cached"]["total_flops"] <= 1.06 * counted["sft"]["total_flops"]


def gpu_commands():
    block = PAGE.split("### On a GPU")[1].split("```bash")[1].split("```")[0]
    for line in (line.strip() for line in block.splitlines()):
        if line.startswith("python -m benchmarks.step"):
            for shape in ("3b", "7b") if "$shape" in line else ("",):
                for mix in list(MIXES) if "$mix" in line else ("",):
                    add = "--add" if mix not in ("", next(iter(MIXES))) else ""
                    yield (
                        line.replace("${shape}", shape)
                        .replace("$shape", shape)
                        .replace("$mix", mix)
                        .replace("$add", add)
                    )


@pytest.mark.slow
def test_the_commands_for_a_gpu_are_understood(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    asked = []

    def measure(settings, **_):
        asked.append((settings.shape, settings.place.type, tuple(settings.mixes)))
        found = record()
        found["config"]["shape"], found["cases"][0]["mix"] = settings.shape, settings.mixes[0]
        return found

    monkeypatch.setattr(suite, "run_suite", measure)
    commands = list(gpu_commands())
    assert len(commands) == 2 * (len(MIXES) + 1) + 1
    for command in commands:
        words = shlex.split(command)[3:]
        if words[0] == "page":
            found = [str(p.relative_to(tmp_path)) for w in words[1:] if "*" in w for p in sorted(tmp_path.glob(w))]
            assert len(found) == 4
            words = ["page", *found, *words[words.index("--output") :]]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, (command, done.output)
    assert {(shape, place) for shape, place, _ in asked} == {("3b", "cuda"), ("7b", "cuda")}
    assert {mixes for _, _, mixes in asked} == {(mix,) for mix in MIXES}
    assert (tmp_path / "runs" / "step_gpu.html").is_file()
