"""Pearl's evaluation, as the paper writes it and as the released code does it.

``pearl-paper`` (arXiv:2604.08065, appendix A.1) asks for option letters only, at most 4 tokens. The paper states
neither the prompt nor the resolution. It says that it follows LVR's protocol, so the prompt is LVR's.

``pearl-released`` (Ashutosh-Adhikari/pearl@4e09037, eval/evaluate.py) has five presets. The answer is generated freely,
4 tokens at most, and counts as right if the right letter occurs anywhere in it. V*'s own instruction is never doubled:
the released code's ``instruct``, ``thinkmorph`` and ``boxed`` append another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from jepa_vlm.errors import UnknownNameError
from jepa_vlm.evaluation.item import INSTRUCTION, BenchmarkItem
from jepa_vlm.evaluation.protocols.named import (
    PROTOCOLS,
    NamedProtocol,
    instructed,
    question_and_options,
    refuse_preset,
)
from jepa_vlm.generation.letters import SHORT_TOKENS
from jepa_vlm.trajectories import MultipleChoice

IN_TAGS = INSTRUCTION.removesuffix(".") + " between <answer></answer> tags."
BOXED = "Answer with the correct option's letter directly within \\boxed{}."
TOKENS = 4

# By preset and benchmark. None: the benchmark's text as it is, and that of V* holds the instruction.
INSTRUCTIONS: Mapping[str, Mapping[str, str | None]] = {
    "default": {"vstar": None, "mmvp": None, "blink": INSTRUCTION},
    "instruct": {"vstar": INSTRUCTION, "mmvp": INSTRUCTION, "blink": INSTRUCTION},
    "instruct_no_prefix": {"vstar": None, "mmvp": INSTRUCTION, "blink": INSTRUCTION},
    "thinkmorph": {"vstar": IN_TAGS, "mmvp": IN_TAGS, "blink": IN_TAGS},
    "boxed": {"vstar": BOXED, "mmvp": BOXED, "blink": BOXED},
}
WITH_PREFIX = ("default", "instruct", "thinkmorph")


@PROTOCOLS.register("pearl-paper")
def pearl_paper(benchmark: str, preset: str) -> NamedProtocol:
    """Return the protocol; it is the same on every benchmark."""
    refuse_preset("pearl-paper", preset)
    return NamedProtocol(name="pearl-paper-1", scoring="short", prompt=instructed, max_new_tokens=SHORT_TOKENS)


@PROTOCOLS.register("pearl-released")
def pearl_released(benchmark: str, preset: str) -> NamedProtocol:
    """Return one of the presets: ``default`` (also where none is named), ``instruct``, ...

    Raises:
        UnknownNameError: If there is no such preset.
    """
    chosen = preset or "default"
    if chosen not in INSTRUCTIONS:
        raise UnknownNameError("preset of pearl-released", preset, known=INSTRUCTIONS)
    return NamedProtocol(
        name=f"pearl-released:{chosen}-1",
        scoring="free",
        prompt=partial(_prompt, instruction=INSTRUCTIONS[chosen][benchmark]),
        max_new_tokens=TOKENS,
        read=partial(read_lenient, reject_several=chosen == "thinkmorph"),
        prefix="<answer>" if chosen in WITH_PREFIX else "",
    )


def _prompt(item: BenchmarkItem, *, instruction: str | None) -> str:
    if instruction is not None:
        return instructed(item, instruction)
    return item.source if item.benchmark == "vstar" else question_and_options(item)


def read_lenient(text: str, item: MultipleChoice, *, reject_several: bool = False) -> str | None:
    """Return the right letter if it occurs in the answer at all, as the released code counts, else the answer's first.

    Args:
        text: The generated text.
        item: The question.
        reject_several: Whether an answer with "AB" in it is no answer.
    """
    answer = text.rpartition("<answer>")[2].partition("</answer")[0].strip()
    right = item.letters[item.answer]
    if reject_several and "AB" in answer:
        return None
    if right in answer:
        return right
    return answer[0] if answer[:1] and answer[0] in item.letters else None
