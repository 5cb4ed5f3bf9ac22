"""As lmms-eval measures the tasks vstar_bench, mmvp and blink (EvolvingLMMs-Lab/lmms-eval@75571cf), Qwen2.5-VL wrapper.

Three tasks, three readers (``extract_answer_letter`` and ``_extract_answer_letter`` in ``tasks/*/utils.py``); what they
do with an odd reply is part of the protocol, such as BLINK's, to which "The answer is B" says "T". V*'s own instruction
is dropped before lmms-eval's is appended, so it stands once. Its MMVP has four corrected labels: ask for
``mmvp:FOLDER#labels=corrected``.
"""

from __future__ import annotations

import re

from jepa_vlm.evaluation.item import INSTRUCTION, BenchmarkItem
from jepa_vlm.evaluation.protocols.named import LETTERS, PROTOCOLS, NamedProtocol, lettered, refuse_preset
from jepa_vlm.trajectories import MultipleChoice

PIXELS = (256 * 28 * 28, 1_605_632)
SYSTEM = "You are a helpful assistant."

_VSTAR = (
    re.compile(r"(?:ANSWER|CHOICE|OPTION)(?:\s+IS)?[\s:]+([A-D])"),
    re.compile(r"\(([A-D])\)"),
    re.compile(r"([A-D])\s*[.)\]]"),
    re.compile(r"(?:^|\s)([A-D])(?:\s|$)"),
)
_MMVP = (
    re.compile(r"^\(?([AB])\)?(?:[.\s]|$)", re.IGNORECASE),
    re.compile(r"answer\s+is\s+\(?([AB])", re.IGNORECASE),
    re.compile(r"option\s+\(?([AB])", re.IGNORECASE),
    re.compile(r"([AB])\)?(?:\s|$)", re.IGNORECASE),
    re.compile(r"^([AB])", re.IGNORECASE),
)
_BLINK = re.compile(r"[(\s]*([A-Z])", re.IGNORECASE)


@PROTOCOLS.register("lmms-eval")
def lmms_eval(benchmark: str, preset: str) -> NamedProtocol:
    """Return the protocol of one task."""
    refuse_preset("lmms-eval", preset)
    readers = {"vstar": read_vstar, "mmvp": read_mmvp, "blink": read_blink}
    return NamedProtocol(
        name="lmms-eval-1",
        scoring="free",
        prompt=_prompt,
        max_new_tokens=1024 if benchmark == "blink" else 16,
        read=readers[benchmark],
        system=SYSTEM,
        pixels=PIXELS,
    )


def _prompt(item: BenchmarkItem) -> str:
    if item.benchmark == "blink":
        offered = ", ".join(LETTERS[: len(item.options)])
        note = f"Note: You only need to respond with {offered} without providing any additional information."
        return f"{note}\n{item.source}"
    return f"{item.question}\n{lettered(item)}{INSTRUCTION}"


def read_vstar(text: str, item: MultipleChoice) -> str | None:
    """Return the reply's first character if it is A to D in either case, else the first of four patterns that fits,
    else the only A to D in it.
    """
    reply = text.strip().upper()
    if reply[:1] and reply[0] in "ABCD":
        return _offered(reply[0], item)
    for pattern in _VSTAR:
        if (match := pattern.search(reply)) is not None:
            return _offered(match[1], item)
    there = re.findall("[A-D]", reply)
    return _offered(there[0], item) if len(there) == 1 else None


def read_mmvp(text: str, item: MultipleChoice) -> str | None:
    """Return what the first of five patterns that fits finds; the fourth takes any word that ends in A or B."""
    reply = text.strip()
    for pattern in _MMVP:
        if (match := pattern.search(reply)) is not None:
            return _offered(match[1].upper(), item)
    return None


def read_blink(text: str, item: MultipleChoice) -> str | None:
    """Return the reply's first letter, parentheses before it left out, if it is one of the options'."""
    reply = _BLINK.match(text.strip())
    return _offered(reply[1].upper(), item) if reply is not None else None


def _offered(letter: str, item: MultipleChoice) -> str | None:
    return letter if letter and letter in item.letters else None
