"""What a model answers: how it generates, and how an option letter is read from that.

Names load on first use: recipes hold an ``Answering``, and listing recipes must not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jepa_vlm.lazy import on_first_use

if TYPE_CHECKING:
    from jepa_vlm.generation.answering import Answering, Latents, Plain, Tools
    from jepa_vlm.generation.letter_parser import parse_letter
    from jepa_vlm.generation.letters import SCORINGS, LetterAnswer, LetterReader, Scoring, read_letter
    from jepa_vlm.generation.option_letters import answer_letters, answers_by_scoring

_HOMES = {
    "Answering": "answering",
    "Latents": "answering",
    "Plain": "answering",
    "Tools": "answering",
    "parse_letter": "letter_parser",
    "SCORINGS": "letters",
    "LetterAnswer": "letters",
    "LetterReader": "letters",
    "Scoring": "letters",
    "read_letter": "letters",
    "answer_letters": "option_letters",
    "answers_by_scoring": "option_letters",
}

__all__ = [
    "SCORINGS",
    "Answering",
    "Latents",
    "LetterAnswer",
    "LetterReader",
    "Plain",
    "Scoring",
    "Tools",
    "answer_letters",
    "answers_by_scoring",
    "parse_letter",
    "read_letter",
]

__getattr__ = on_first_use(__name__, _HOMES)
