"""Reads an option letter out of free text, by few and strict rules.

In order; the first rule that applies decides, and a text that no rule settles is a parse failure, never a guess:

1. Tool calls and thoughts (``<tool_call>``, ``<think>``, closed or cut off) are dropped. If there is an ``<answer>``,
   only the last one is read.
2. The whole text is one letter, bare or decorated: ``B``, ``b``, ``(B)``, ``**B**.``, ``option B``.
3. The last statement "answer is X", "answer: X", "option is X", "choice is option X". A letter that is offered with
   another ("B or C") is no statement. ``A`` and ``I`` are words too: after them the statement must end ("the answer is
   A red apple" says nothing).
4. Exactly one letter stands in parentheses: ``I think (C) fits``.
5. The text begins with a letter and ``.``, ``)`` or ``:``, and lists no other: ``C. red``.
6. The whole text is the wording of exactly one option: ``red``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

HIDDEN = re.compile(r"<(tool_call|think)>.*?(?:</\1>|\Z)", re.DOTALL)
ANSWER = re.compile(r"<answer>(.*?)(?:</answer>|<answer>|\Z)", re.DOTALL | re.IGNORECASE)
DECORATION = " \t\r\n*_`'\"().,:;!?[]"


def parse_letter(text: str, letters: Sequence[str], options: Sequence[str] = ()) -> str | None:
    """Return the option letter that ``text`` states, or None where it states none or is ambiguous.

    Args:
        text: What the model wrote, without its special tokens.
        letters: The option letters, upper case: ``("A", "B", "C")``. Others are never returned.
        options: The options' wordings in the same order, for rule 6; may be left out.
    """
    text = HIDDEN.sub(" ", text)
    tagged: list[str] = ANSWER.findall(text)
    if tagged:
        text = tagged[-1]
    letters = tuple(letters)
    bare = re.sub(r"^(?i:option|choice)\s+", "", text.strip(DECORATION)).strip(DECORATION)
    if bare.upper() in letters:
        return bare.upper()
    for rule in (_stated, _parenthesised, _leading):
        found = rule(text, "".join(letters))
        if found is not None:
            return found
    wordings = [option.strip(DECORATION).casefold() for option in options]
    worded = [letter for letter, wording in zip(letters, wordings, strict=False) if wording == bare.casefold()]
    return worded[0] if len(worded) == 1 else None


def _stated(text: str, letters: str) -> str | None:
    letter = rf"[*_(\"'`\[]*(?P<letter>[{letters}])(?![\w'’-])"
    alone = r"(?P<after>[*_)\"'`\]]*(?:\s*(?:\bor\b|\band\b|[/&,])\s*[*_(]*[A-Z]\b)?[ \t]*\w?)"
    found = None
    lead = r"(?i:\b(?:answer|option|choice)(?:\s+is|\s*:)\s*:?\s*(?:option|choice)?)\s*"
    for match in re.finditer(lead + letter + alone, text):
        after = match["after"].strip("*_)\"'`] \t")
        offered_with_another = len(after) > 1
        reads_on_as_a_word = match["letter"] in "AI" and after != ""
        if not offered_with_another and not reads_on_as_a_word:
            found = match["letter"]
    return found


def _parenthesised(text: str, letters: str) -> str | None:
    found = set(re.findall(rf"\(([{letters}])\)", text))
    return found.pop() if len(found) == 1 else None


def _leading(text: str, letters: str) -> str | None:
    listed = re.findall(rf"(?:^|\n)\s*[*_]*([{letters}])[*_]*[.):](?=\s|\Z)", text)
    begins = re.match(rf"\s*[*_]*[{letters}][*_]*[.):](?=\s|\Z)", text)
    return listed[0] if begins and len(set(listed)) == 1 else None
