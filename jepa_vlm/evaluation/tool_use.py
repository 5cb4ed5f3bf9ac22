"""Answers with tools: which tools a benchmark offers, and what their use came to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from jepa_vlm.adapters import Backbone
from jepa_vlm.generation import LetterAnswer, LetterReader
from jepa_vlm.generation.tool_loop import TRAINED_TOOLS, ToolLoop, answer_with_tools
from jepa_vlm.playground.tools import TOOLS
from jepa_vlm.playground.vocabulary import DIRECT_INSTRUCTION, TOOL_INSTRUCTION
from jepa_vlm.trajectories import MultipleChoice

TURN_TOKENS = 128  # of a turn on the playground: the longest call takes half of them


def default_loop(benchmark: str) -> ToolLoop:
    """Return the loop for models that were trained on this library's trajectories: no system turn, no guidelines.

    On the playground they have called the playground's tools; elsewhere, the tools of ``jepa_vlm.generation.tools``.
    """
    if benchmark.partition(":")[0] == "playground":
        return ToolLoop(tools={name: TOOLS[name] for name in TOOLS}, max_new_tokens=TURN_TOKENS)
    return TRAINED_TOOLS


def letters_with_tools(
    backbone: Backbone, items: Sequence[MultipleChoice], loop: ToolLoop, *, read: LetterReader
) -> list[LetterAnswer]:
    """Ask a batch with tools and read the letter in every last turn.

    A question of the playground that asks for the letter at once asks, as in training, to look closely first.
    """
    asked = [replace(item, prompt=_looking(item.prompt)) for item in items]
    answers = answer_with_tools(backbone, asked, loop, batch_size=len(asked))
    return [
        LetterAnswer(item.id, read(answer.text, item), answer.text, answer.use)
        for item, answer in zip(items, answers, strict=True)
    ]


def _looking(prompt: str) -> str:
    direct = prompt.removesuffix(DIRECT_INSTRUCTION)
    return prompt if direct == prompt else direct + TOOL_INSTRUCTION


def total_use(answers: Sequence[LetterAnswer]) -> dict[str, int] | None:
    """Return the sums of calls, failures and tokens, and how many conversations a limit ended; None without tools."""
    uses = [answer.use for answer in answers if answer.use is not None]
    if not uses:
        return None
    return {
        "calls": sum(use.calls for use in uses),
        "failures": sum(use.failures for use in uses),
        "tokens": sum(use.tokens for use in uses),
        "ended by a limit": sum(use.stopped != "answered" for use in uses),
    }
