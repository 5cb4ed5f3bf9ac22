"""Every word that the playground can write, so that a tokenizer can make each of them one token."""

from __future__ import annotations

import re

COLORS = ("red", "green", "blue", "yellow", "purple", "orange", "cyan", "black")
SHAPES = ("circle", "square", "triangle", "cross", "diamond", "ring", "bar", "corner")
DIRECTIONS = ("left", "right", "above", "below")
MOVES = ("left", "right", "up", "down")
ORDINALS = ("first", "second", "third", "fourth")
LETTERS = ("A", "B", "C", "D")
DIGITS = tuple("0123456789")

DIRECT_INSTRUCTION = "Answer with the letter."
TOOL_INSTRUCTION = "Look closely first."
WORD_INSTRUCTION = "Answer with a word."
TEXT_INSTRUCTION = "Answer in words."

_PIECE = re.compile(r"</?tool_call>|_?[A-Za-z]+|\d|(?:(?!</?tool_call>)[^\sA-Za-z\d])+")
_TEXTS = (
    DIRECT_INSTRUCTION,
    TOOL_INSTRUCTION,
    WORD_INSTRUCTION,
    TEXT_INSTRUCTION,
    "What color is the? What shape is the object?",
    "The is at column row.",
    "Where is the from the? Both are at.",
    "Which of these is a? It is a. The one is at.",
    "Which bar is tallest? Which bar is shortest? How tall is the bar? The bar is in column.",
    "Which piece fits the hole? The piece is put in.",
    "Which exit can the circle reach? Go from column row.",
    "What color is the object at? Which column is the in? Which row is the in? How many objects are there?",
    "How many objects are? How many objects have the shape? What is in row? nothing",
    "What color is the bar in column? Can the circle go? yes no. Which letter is?",
    "Which exit can column row reach? fits hole",
    '<tool_call>{"name": "crop", "arguments": {"column": 1, "row": 1, "cells": 1}}</tool_call>',
    '<tool_call>{"name": "draw_path", "arguments": {"moves": "up"}}</tool_call> highlight assemble piece',
)


def question_form(question: str) -> str:
    """Return a question without the words that differ between scenes: "What color is the _?"."""
    named = {*COLORS, *SHAPES, *DIRECTIONS}
    return " ".join("_" if word in named else word for word in question.partition("?")[0].split()) + "?"


def pieces(text: str) -> list[str]:
    """Cut a text where Qwen's pre-tokenizer does: words, single digits, runs of marks, and the two tool-call tags."""
    return _PIECE.findall(text)


def words() -> tuple[str, ...]:
    """Return every piece that a text of the playground can contain, sorted: about a hundred.

    A test compares the list with the texts of the tasks.
    """
    listed = {*COLORS, *SHAPES, *DIRECTIONS, *MOVES, *ORDINALS, *LETTERS, *DIGITS}
    return tuple(sorted(listed.union(*(pieces(text) for text in _TEXTS))))
