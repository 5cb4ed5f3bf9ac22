"""Renders a conversation with the backbone's own chat template and records where every part went.

Each text is rendered once between markers that no text contains; the markers' places are the spans. Rendering again
without markers must give the same string, so what is trained is exactly what the stock processor would make.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

from jepa_vlm.adapters.chat import chat_text
from jepa_vlm.errors import BackboneError, DataError
from jepa_vlm.trajectories import Trajectory
from jepa_vlm.trajectories.trajectory import Content

_OPEN, _CLOSE = "\ue000{}\ue001", "\ue002{}\ue003"
_MARKER = re.compile("\ue000(\\d+)\ue001|\ue002(\\d+)\ue003")
_RESERVED = re.compile("[\ue000-\ue003]")

Span = tuple[int, int]


@final
@dataclass(frozen=True)
class RenderedText:
    """A conversation as text, with the character spans of its parts.

    Args:
        text: What the template made, image placeholders not yet expanded.
        question: Spans of Q's words: none where an image alone is asked about, several where images stand inside it.
        question_end: Where the user's content ends: behind Q's last word, or behind an image that comes after it.
        reasoning: Spans of R_1 ... R_n; empty where a turn only looks.
        observations: Spans of the words that came with tool images.
        trajectory: Where T begins: the header of the first assistant turn.
        images: Span of each image placeholder, in order.
    """

    text: str
    question: tuple[Span, ...]
    question_end: int
    reasoning: tuple[Span, ...]
    observations: tuple[Span, ...]
    trajectory: int
    images: tuple[Span, ...]


def messages_of(trajectory: Trajectory) -> list[dict[str, Any]]:
    """Return the conversation view as chat messages; tool images come back as user turns."""
    system = [{"type": "text", "text": trajectory.system.strip()}]
    messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if trajectory.system.strip() else []
    messages.append({"role": "user", "content": _parts(trajectory.asked)})
    for step in trajectory.steps:
        messages.append({"role": "assistant", "content": [{"type": "text", "text": step.spoken.strip()}]})
        if step.image is not None:
            messages.append({"role": "user", "content": _parts(step.shown)})
    return messages


def _parts(content: Content) -> list[dict[str, Any]]:
    return [{"type": "text", "text": part} if isinstance(part, str) else {"type": "image"} for part in content]


def render(processor: Any, trajectory: Trajectory, *, image_token: str, reserved: Sequence[str]) -> RenderedText:
    """Render a trajectory's conversation.

    Args:
        processor: The backbone's; its chat template is used.
        trajectory: What to render.
        image_token: The placeholder that the template writes for an image.
        reserved: Special tokens, which no text of the trajectory may contain.

    Raises:
        DataError: If a text contains a special token of the backbone.
        BackboneError: If the template refuses the conversation, drops, repeats or rewrites a turn, or cannot be cut
            where T begins.
    """
    messages = messages_of(trajectory)
    texts = _texts(messages)
    for own in texts:
        _refuse_reserved(own, trajectory.id, reserved)
    plain = chat_text(processor, messages)
    clean, spans = _strip_markers(chat_text(processor, _marked(messages)))
    if clean != plain:  # a template may leave out the blanks around a text: Gemma 3's does
        clean, spans = _strip_markers(chat_text(processor, _marked(messages, blanks=True)))
    lost = [repr(text[:40]) for i, text in enumerate(texts) if i not in spans]
    if clean != plain or lost or any(plain[slice(*spans[i])].strip() != t.strip() for i, t in enumerate(texts)):
        raise BackboneError(
            "Every turn must survive the chat template unchanged, "
            + (f"but it dropped {', '.join(lost)}" if lost else "but it rewrites a text")
            + f" (trajectory {trajectory.id!r}); use a template that keeps all turns."
        )
    asked = next(number for number, message in enumerate(messages) if message["role"] == "user")
    asked_text = chat_text(processor, messages[: asked + 1])
    if not plain.startswith(asked_text):
        raise BackboneError(
            "The rendered question must be a prefix of the rendered conversation, so that the trajectory can be cut "
            "out; this chat template changes earlier turns when later ones follow."
        )
    images = tuple(m.span() for m in re.finditer(re.escape(image_token), plain))
    if len(images) != len(trajectory.all_images):
        raise BackboneError(
            f"The chat template wrote {len(images)} image placeholders {image_token!r} for "
            f"{len(trajectory.all_images)} images (trajectory {trajectory.id!r})."
        )
    order = iter(spans[i] for i in range(len(texts)))
    if asked:
        next(order)  # the system prompt
    question = tuple(next(order) for part in messages[asked]["content"] if part["type"] == "text")
    reasoning: list[Span] = []
    observations: list[Span] = []
    for message in messages[asked + 1 :]:
        found = [next(order) for part in message["content"] if part["type"] == "text"]
        (reasoning if message["role"] == "assistant" else observations).extend(found)
    text = _closed(plain, reasoning[-1][1], processor.tokenizer.eos_token, reserved)
    if messages[asked]["content"][-1]["type"] == "text":
        end = question[-1][1]
    else:
        end = _content_end(processor, asked_text, images[len(trajectory.images) - 1])
    return RenderedText(text, question, end, tuple(reasoning), tuple(observations), len(asked_text), images)


def _content_end(processor: Any, asked: str, last_image: Span) -> int:
    """Return where the content of a last user turn ends: before what the template also writes behind words."""
    probe = [{"role": "user", "content": [{"type": "text", "text": _OPEN.format(0)}]}]
    closing = chat_text(processor, probe).rpartition(_OPEN.format(0))[2]
    pairs = enumerate(zip(reversed(closing), reversed(asked), strict=False))
    shared = next((i for i, (one, other) in pairs if one != other), len(closing))
    return max(len(asked) - shared, last_image[1])


def template_tokens(processor: Any) -> str:
    """Return a text that holds the tokens of the template's own: its source, and what it writes around words."""
    turns = [{"role": role, "content": [{"type": "text", "text": "?"}]} for role in ("system", "user", "assistant")]
    try:
        written = chat_text(processor, turns)
    except BackboneError:  # Gemma's and others know no system turn
        written = chat_text(processor, turns[1:])
    return f"{processor.chat_template}{written}"


def _closed(text: str, end: int, eos: str, reserved: Sequence[str]) -> str:
    """Return the text with an end behind its last turn: some templates leave that to the tokenizer's own token."""
    return text if any(token in text[end:] for token in reserved) else text[:end] + eos


def refuse_reserved(trajectory: Trajectory, reserved: Sequence[str]) -> None:
    """Check that no text of a trajectory would be read as structure.

    Raises:
        DataError: If one holds a special token of the backbone, or one of our markers.
    """
    for text in _texts(messages_of(trajectory)):
        _refuse_reserved(text, trajectory.id, reserved)


def _texts(messages: list[dict[str, Any]]) -> list[str]:
    return [part["text"] for message in messages for part in message["content"] if part["type"] == "text"]


def _marked(messages: list[dict[str, Any]], *, blanks: bool = False) -> list[dict[str, Any]]:
    """Return the messages with each text between markers; with ``blanks``, the blanks around it outside of them."""
    marked, number = [], 0
    for message in messages:
        content = []
        for part in message["content"]:
            if part["type"] == "text":
                text = part["text"]
                core = text.strip() if blanks else text
                before, core, behind = text.partition(core) if core else (text, "", "")
                text = before + _OPEN.format(number) + core + _CLOSE.format(number) + behind
                part = {"type": "text", "text": text}
                number += 1
            content.append(part)
        marked.append({"role": message["role"], "content": content})
    return marked


def _strip_markers(marked: str) -> tuple[str, dict[int, Span]]:
    """Return the text without markers, and the span of each text that was found exactly once."""
    pieces: list[str] = []
    starts: dict[int, int] = {}
    spans: dict[int, Span] = {}
    at = length = 0
    for marker in _MARKER.finditer(marked):
        pieces.append(marked[at : marker.start()])
        length += marker.start() - at
        at = marker.end()
        if marker[1] is not None:
            starts[int(marker[1])] = length
        else:
            spans[int(marker[2])] = (starts[int(marker[2])], length)
    pieces.append(marked[at:])
    return "".join(pieces), spans


def _refuse_reserved(text: str, identity: str, reserved: Sequence[str]) -> None:
    if _RESERVED.search(text):
        raise DataError(
            f"Trajectory {identity!r} holds a private-use character (U+E000 to U+E003) in {text[:60]!r}; remove it.",
            "special token",
        )
    for token in reserved:
        if token in text:
            raise DataError(
                f"Trajectory {identity!r} holds the backbone's special token {token!r} in a text ({text[:60]!r}); "
                "it would be read as structure. Remove or rename it; one that the model is to write, such as a box's, "
                f"is kept by an option of the data: FORMAT:PATH#keep={token}.",
                "special token",
            )
