"""What of a reply is its answer, and the words of it.

Thoughts, tool calls and markup are taken off, so that ``letter_parser`` reads "**Answer:** B", "\\boxed{B}", "$B$" and
"（B）" as what they are. Every step is linear in the length of the reply.
"""

from __future__ import annotations

import re

THOUGHT = re.compile(r"<(/?)(?:think(?:ing)?|thought|reasoning)>|◁(/?)think▷|\[(/?)THINK\]", re.IGNORECASE)
TOOL_CALL = re.compile(r"<tool_call>.*?(?:</tool_call>|\Z)", re.DOTALL)
ANSWER = re.compile(r"<(/?)answer>", re.IGNORECASE)
BOX = re.compile(r"\\(?:boxed|fbox)\s*\{|[{}]")
GLM_BOX = (("<|begin_of_box|>", " answer: ("), ("<|end_of_box|>", ") "))
STRUCK = re.compile(r"~~[^~\n]*~~")  # struck out is not said
TAG = re.compile(r"</?(?:b|i|u|p|s|em|strong|span|br|code|sub|sup|div|mark)(?: [^<>]*)?/?>")
SPECIAL = re.compile(r"<\|[^|<>]*\|>")
# LaTeX that only changes how its argument looks. Of other commands the name stays a word: "\therefore", "\alpha".
LOOKS = re.compile(
    r"\\(?:(?:text|math)[a-z]*|rm|bf|it|left|right|large|Large|q?quad|displaystyle|operatorname|boldsymbol|[hm]box)\b"
)
ASCII = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {
    ord(mark): plain
    for marks, plain in (
        ("\u3000\u00a0•", " "),
        ("‘’", "'"),
        ("“”", '"'),
        ("【「『〔《〈", "["),
        ("】」』〕》〉", "]"),
        ("。", "."),
        ("、", ","),
        ("–—―−", " - "),
        ("→⇒", " : "),
    )
    for mark in marks
}
# One letter inside brackets, quotes, dollars or emphasis, whatever their order: (B), **(B)**, $B$, "B", **B.**
WRAPPED = re.compile(
    r"(?<![A-Za-z0-9(\[{<*_`$\"'|])[(\[{<*_`$\"'|]++ ?([A-Za-z]) ?[.:]? ?[)\]}>*_`$\"'|]++(?![A-Za-z0-9])"
)
WORD = r"[A-Za-z0-9À-ɏ]"
WORDS = re.compile(
    r"(?<![A-Za-z0-9])\([A-Za-z]\)"  # a wrapped letter
    rf"|\d+(?:\.\d+)+|[A-Za-z](?:\.[A-Za-z])+(?!{WORD})"  # 3.5, A.M
    rf"|{WORD}+(?:['-]{WORD}+)*"
    r"|答案|选项|選項|选择|選擇|正确|正確|正解|答え|정답|\n"
    r"|[^\W_]|[^\w\s*`$~#|{}<>\"'\[\]\\]"  # any other character but emphasis, quotes and brackets
)


def answer_part(text: str) -> str:
    """Return the part of a reply that answers, or "" if nothing is answered.

    Thoughts and tool calls, closed or cut off, are dropped. If there is an ``<answer>``, only what the last one holds
    is the answer.
    """
    text = TOOL_CALL.sub("\n", without_thoughts(text))
    tags = list(ANSWER.finditer(text))
    opened = [tag.end() for tag in tags if not tag[1]]
    start = opened[-1] if opened else 0
    ends = [tag.start() for tag in tags if tag[1] and tag.start() >= start]
    return text[start : ends[0] if ends else len(text)]


def without_thoughts(text: str) -> str:
    """Return a reply without its thoughts, ``<think>...</think>`` and the like.

    What stands before an unmatched ``</think>`` is a thought. A reply whose ``<think>`` is not closed says nothing.
    """
    kept: list[str] = []
    place, thinking = 0, False
    for tag in THOUGHT.finditer(text):
        closes = any(tag.groups())
        if not thinking:
            kept.append(text[place : tag.start()])
        if closes and not thinking:
            kept.clear()
        thinking, place = not closes, tag.end()
    return "" if thinking else "\n".join([*kept, text[place:]])


def words(text: str) -> list[str]:
    """Return the words and punctuation of an answer in lower case, without its markup.

    A letter that stands in brackets, quotes or emphasis is one word, "(b)"; a line end is "\\n". A closed box is
    written as "answer: (...)"; the answer ends where a box is opened and not closed.
    """
    text = _unboxed(text.translate(ASCII))
    for tag, plain in GLM_BOX:
        text = text.replace(tag, plain)
    for markup in (STRUCK, TAG, SPECIAL, LOOKS):
        text = markup.sub(" ", text)
    text = text.replace("\\", "")
    return [found[0].lower() for found in WORDS.finditer(WRAPPED.sub(r" (\1) ", text))]


def boxed(text: str) -> str | None:
    """Return what stands in the last ``\\boxed{...}``, or None without a closed one."""
    closed, _ = _boxes(text)
    return text[slice(*max(closed)[1:])].strip() if closed else None


def _boxes(text: str) -> tuple[list[tuple[int, int, int]], int]:
    """Return start, start of the content and its end of every closed box, and where the first open one starts."""
    closed, stack = [], []
    for brace in BOX.finditer(text):
        if brace[0] != "}":
            stack.append((brace.start(), brace.end(), brace[0] != "{"))
        elif stack:
            start, content, is_box = stack.pop()
            if is_box:
                closed.append((start, content, brace.start()))
    return closed, min((start for start, _, is_box in stack if is_box), default=len(text))


def _unboxed(text: str) -> str:
    closed, end = _boxes(text)
    edges = [(start, content, " answer: (") for start, content, _ in closed]
    edges += [(last, last + 1, ") ") for _, _, last in closed]
    pieces, place = [], 0
    for start, after, plain in sorted(edges):
        if start < end:
            pieces += [text[place:start], plain]
            place = after
    return "".join(pieces) + text[place:end]
