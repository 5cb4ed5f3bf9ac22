"""The schema of an expert tool-use trajectory: x = (images, question), T = (R_1, I_1, R_2, ..., R_n)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, final

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.box import Box
from jepa_vlm.trajectories.image import LazyImage

MAX_TEXT = 100_000  # characters of one trajectory: about 25,000 tokens, beyond what a step of training holds
SHOWN = 80  # characters of an id that a message repeats

Content = tuple[str | LazyImage, ...]
"""The content of a user's turn: texts and images, in order."""


@final
@dataclass(frozen=True)
class ToolCall:
    """One call of a tool on one image.

    Args:
        name: The tool: ``"crop"``.
        arguments: The arguments of the call, as JSON values.
        box: The region of the call, if it has one; drawn by ``data show``.
        image: Index of the image that the call is about, among the trajectory's ``all_images``.
        written: The call in the words of the data, right after the step's text; "" if the texts leave it out, None if
            it is written as JSON.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    box: Box | None = None
    image: int = 0
    written: str | None = None

    def text(self) -> str:
        """Return the call as the model writes it."""
        if self.written is not None:
            return self.written
        return f"<tool_call>{_json({'name': self.name, 'arguments': dict(self.arguments)})}</tool_call>"


@final
@dataclass(frozen=True)
class Step:
    """One turn of reasoning ``R_i`` and, unless it is the last, the answer of the tool.

    Args:
        text: The reasoning; "" in a turn that only calls a tool. The text of the last step holds the answer.
        call: The tool call that ends the turn; its text follows ``text``.
        image: The image ``I_i`` that the tool returned.
        observation: Words that came with the image, or "".
        image_place: The number of characters of the observation before the image.
    """

    text: str
    call: ToolCall | None = None
    image: LazyImage | None = None
    observation: str = ""
    image_place: int = 0

    @property
    def shown(self) -> Content:
        """The turn in which the tool answers: words and image, in order."""
        if self.image is None:
            return ()
        return _in_place(self.observation, (self.image_place,), (self.image,))

    @property
    def spoken(self) -> str:
        """``R_i`` as it is trained: the reasoning, then the call."""
        if self.call is None:
            return self.text
        between = " " if self.text and self.call.written is None else ""
        return self.text + between + self.call.text()


@final
@dataclass(frozen=True)
class Trajectory:
    """One training example.

    Args:
        id: Unique in its data set; named in messages.
        images: The input images I, at least one.
        question: The words of the question Q; "" if the images alone are the question.
        steps: T; every step but the last has an image, the last has neither image nor call, and has words.
        answer: The answer alone.
        task: A label to group by, or "".
        system: The system prompt, or "" for the chat template's own.
        image_places: For each image, in order, the number of characters of the question before it; empty if all images
            come before the words.
        keep: Special tokens of the backbone that the texts may hold, such as those around a box.
        notes: What the reader of the file decided, changed or left out, by kind. Checks and runs count it.

    Raises:
        DataError: If a part is missing or out of place, the arguments of a call are not JSON, or the texts have more
            than ``MAX_TEXT`` characters, or a character that UTF-8 cannot encode.
    """

    id: str
    images: tuple[LazyImage, ...]
    question: str
    steps: tuple[Step, ...]
    answer: str
    task: str = ""
    system: str = ""
    image_places: tuple[int, ...] = ()
    keep: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        whose = f"Trajectory {self.id[:SHOWN]!r}"
        texts = [self.id, self.task, self.system, self.question, self.answer]
        for step in self.steps:
            texts += [step.text, step.observation]
            if (call := step.call) is not None:
                try:
                    texts += [call.name, call.written or "", _json(dict(call.arguments))]
                except (TypeError, ValueError) as err:
                    message = f"{whose}: the arguments of a call of {call.name!r} must be JSON values ({err})."
                    raise DataError(message, "tool call") from None
        _check_texts(whose, texts)
        if not self.images:
            raise DataError(f"Trajectory {self.id!r} has a question but no image; every example needs at least one.")
        places, length = self.image_places, len(self.question)
        if places and (len(places) != len(self.images) or [0, *places, length] != sorted([0, *places, length])):
            raise DataError(
                f"Trajectory {self.id!r}: image_places must hold, for each of the {len(self.images)} images in order, "
                f"a number from 0 to the question's {length} characters, or nothing; got {list(places)}.",
                "placeholder",
            )
        if not self.steps:
            raise DataError(f"Trajectory {self.id!r} has no steps; one without tools still has its answer as a step.")
        *calls, last = self.steps
        if last.image is not None or last.call is not None:
            raise DataError(f"Trajectory {self.id!r} ends with a tool call; its last step must be the answer.")
        for i, step in enumerate(calls, start=1):
            if step.image is None:
                raise DataError(
                    f"Trajectory {self.id!r}: step {i} of {len(self.steps)} has no tool image, but is not the last."
                )
            if not 0 <= step.image_place <= len(step.observation):
                raise DataError(
                    f"Trajectory {self.id!r}: image_place of step {i} must be 0 to the {len(step.observation)} "
                    f"characters of its observation, got {step.image_place}.",
                    "placeholder",
                )
        if not last.text.strip():
            count = len(self.steps)
            raise DataError(f"Trajectory {self.id!r}: step {count} of {count} has no text to train on.")

    @property
    def asked(self) -> Content:
        """The user's turn: the question's words and the images, in order, without blanks at both ends."""
        return _in_place(self.question, self.image_places, self.images)

    def saying(self, text: str) -> Trajectory:
        """Return the example as if the expert had said one text and called no tool."""
        return replace(self, steps=(Step(text),))

    @property
    def tool_images(self) -> tuple[LazyImage, ...]:
        """The images I_1 ... I_{n-1} that tools returned, in order."""
        return tuple(step.image for step in self.steps if step.image is not None)

    @property
    def all_images(self) -> tuple[LazyImage, ...]:
        """Input images, then tool images: the order in which views and tool calls count them."""
        return self.images + self.tool_images

    @property
    def calls(self) -> int:
        """The number of tool calls."""
        return len(self.steps) - 1


@final
@dataclass(frozen=True)
class MultipleChoice:
    """One held-out multiple-choice item.

    Args:
        id: Unique in its set.
        images: The input images.
        prompt: The question with its options, exactly as the model receives it.
        options: The option texts, in the order of the letters A, B, C, ...
        answer: Index of the right option.
        task: A label to group by.
        group: Name of a group whose items count as right only together (a pair of MMVP), or "".

    Raises:
        DataError: If there are too few or too many options, the answer is none of them, or the texts are too long or
            cannot be encoded.
    """

    id: str
    images: tuple[LazyImage, ...]
    prompt: str
    options: tuple[str, ...]
    answer: int
    task: str = ""
    group: str = ""

    def __post_init__(self) -> None:
        _check_texts(f"Question {self.id[:SHOWN]!r}", (self.id, self.task, self.group, self.prompt, *self.options))
        if not 2 <= len(self.options) <= 26:
            raise DataError(f"Question {self.id!r} needs 2 to 26 options, got {len(self.options)}.")
        if not 0 <= self.answer < len(self.options):
            raise DataError(
                f"Question {self.id!r}: answer {self.answer} is not one of its {len(self.options)} options."
            )

    @property
    def letters(self) -> tuple[str, ...]:
        """The option letters, ``("A", "B", ...)``."""
        return tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(self.options)])


def _in_place(words: str, places: Sequence[int], images: Sequence[LazyImage]) -> Content:
    """Return words and images in order, without blanks at both ends; without places, images come first."""
    if not any(places):
        words, places = words.strip(), [0] * len(images)
    texts = [words[start:end] for start, end in pairwise([0, *places, len(words)])]
    texts[0], texts[-1] = texts[0].lstrip(), texts[-1].rstrip()
    parts: list[str | LazyImage] = [texts[0]]
    for image, text in zip(images, texts[1:], strict=True):
        parts += [image, text]
    return tuple(part for part in parts if part != "")


def _json(value: object) -> str:
    """Return a value as JSON, as chat templates write it: letters as they are, no NaN and no infinity."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _check_texts(whose: str, texts: Sequence[str]) -> None:
    """Refuse texts that are too long together, or that UTF-8 cannot encode: JSON can spell half of a UTF-16 pair."""
    length = sum(map(len, texts))
    if length > MAX_TEXT:
        raise DataError(
            f"{whose} has texts of {length:,} characters, limit {MAX_TEXT:,}; shorten or drop it.", "text too long"
        )
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as err:
            message = (
                f"{whose}: {text[err.start : err.end]!r} is half of a UTF-16 pair and no character; repair the text."
            )
            raise DataError(message, "text") from None
