"""Prompts that several protocols share."""

from __future__ import annotations

from jepa_vlm.evaluation.item import INSTRUCTION, BenchmarkItem

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def lettered(item: BenchmarkItem, *, end: str = "\n") -> str:
    """Return the options as "A. red", one to a line, each line ended."""
    return "".join(f"{letter}. {option}{end}" for letter, option in zip(LETTERS, item.options, strict=False))


def question_and_options(item: BenchmarkItem) -> str:
    """Return the question as LVR's evaluation writes it, without an instruction.

    V*: the benchmark's own text, whose instruction is taken off. MMVP: the options column on one line, "(a)" written
    "A.". BLINK: an option to a line, the last line ended too.
    """
    if item.benchmark == "vstar":
        return item.source.rstrip().removesuffix(INSTRUCTION).rstrip()
    if item.benchmark == "mmvp":
        return f"{item.question}\nOptions:\n{item.source}".replace("(a)", "A.").replace("(b)", "B.")
    return f"{item.question}\nOptions:\n{lettered(item)}"


def instructed(item: BenchmarkItem, instruction: str = INSTRUCTION) -> str:
    """Return the question with one instruction on a line of its own: V*, whose text brings one, does not get two."""
    return f"{question_and_options(item)}\n{instruction}"
