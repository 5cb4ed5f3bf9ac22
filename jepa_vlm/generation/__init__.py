"""What a model answers: option letters, read in three ways."""

from jepa_vlm.generation.inference import inference
from jepa_vlm.generation.letter_parser import parse_letter
from jepa_vlm.generation.letters import SCORINGS, LetterAnswer, LetterReader, Scoring, read_letter
from jepa_vlm.generation.option_letters import answer_letters, answers_by_scoring

__all__ = [
    "SCORINGS",
    "LetterAnswer",
    "LetterReader",
    "Scoring",
    "answer_letters",
    "answers_by_scoring",
    "inference",
    "parse_letter",
    "read_letter",
]
