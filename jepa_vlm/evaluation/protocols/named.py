"""The parts of a named protocol, the prompts that several share, and the registry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from jepa_vlm.errors import UnknownNameError
from jepa_vlm.evaluation.item import INSTRUCTION, BenchmarkItem
from jepa_vlm.generation import LetterReader, Scoring, read_letter
from jepa_vlm.generation.tool_loop import ToolLoop
from jepa_vlm.registry import Registry
from jepa_vlm.trajectories import MultipleChoice

DEFAULT_PROTOCOL = "pearl-paper"


@final
@dataclass(frozen=True, kw_only=True)
class NamedProtocol:
    """Rules by which one benchmark is asked and read.

    Args:
        name: Name and version: ``"lvr-1"``; a change of any value is a new version.
        scoring: How an option letter is read; others may be recorded beside it.
        prompt: Function that makes the user turn's text.
        max_new_tokens: Most tokens generated under ``free``.
        read: Function that reads the letter under ``free``.
        prefix: Beginning that the prompt gives to every answer.
        system: The system turn; "" for the chat template's own.
        pixels: Least and most pixels of an image; None for the image processor's own.
        loop: Tools and limits under ``tools``; None for the benchmark's.
    """

    name: str
    scoring: Scoring
    prompt: Callable[[BenchmarkItem], str]
    max_new_tokens: int
    read: LetterReader = read_letter
    prefix: str = ""
    system: str = ""
    pixels: tuple[int, int] | None = None
    loop: ToolLoop | None = None

    def ask(self, item: BenchmarkItem) -> MultipleChoice:
        """Return the item with its prompt."""
        return MultipleChoice(
            id=item.id,
            images=item.images,
            prompt=self.prompt(item),
            options=item.options,
            answer=item.answer,
            task=item.task,
            group=item.group,
        )


Maker = Callable[[str, str], NamedProtocol]  # from a benchmark's name and a preset, or ""
PROTOCOLS: Registry[Maker] = Registry(
    "protocol", hint="A new one is one file in jepa_vlm/evaluation/protocols; docs/protocols.md lists them."
)


def load_protocol(name: str, *, benchmark: str) -> NamedProtocol:
    """Return a protocol for a benchmark.

    Args:
        name: ``"pearl-paper"``, or with a preset ``"pearl-released:boxed"``.
        benchmark: ``vstar``, ``mmvp`` or ``blink``.

    Raises:
        UnknownNameError: If there is no such protocol, or it has no such preset.
    """
    filed, _, preset = name.partition(":")
    return PROTOCOLS[filed](benchmark, preset)


def refuse_preset(protocol: str, preset: str) -> None:
    """Check that a protocol without presets was asked for without one.

    Raises:
        UnknownNameError: If a preset was named.
    """
    if preset:
        raise UnknownNameError(f"preset of {protocol}", preset, known=())


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


# The library's own rules, for items that bring their prompts.
LIBRARY = NamedProtocol(name="jepa-vlm-2", scoring="letter-logits", prompt=question_and_options, max_new_tokens=32)
