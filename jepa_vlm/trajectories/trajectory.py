"""The schema of an expert tool-use trajectory: x = (images, question), T = (R_1, I_1, R_2, ..., R_n)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories.box import Box
from jepa_vlm.trajectories.image import LazyImage

IMAGE = "<image>"  # in a question: here stands an image
MAX_TEXT = 100_000  # characters of one trajectory: about 25,000 tokens, beyond what a step of training holds
SHOWN = 80  # characters of an id that a message repeats


@final
@dataclass(frozen=True)
class ToolCall:
    """One call of a tool on one image.

    Args:
        name: The tool: ``"crop"``.
        arguments: What it was called with, as JSON values.
        box: The region that it looked at, if it has one; drawn by ``data show``.
        image: Which image the call is about, counted over the trajectory's ``all_images``.
        written: The call in the words of the data, right after the step's text, "" if nothing is said of it; None
            writes it as JSON.
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
        return f"<tool_call>{json.dumps({'name': self.name, 'arguments': dict(self.arguments)})}</tool_call>"


@final
@dataclass(frozen=True)
class Step:
    """One turn of reasoning ``R_i`` and, unless it is the last, what the tool answered.

    Args:
        text: The reasoning; the last step's holds the answer.
        call: The tool call that ends the turn; its text follows ``text``.
        image: The image ``I_i`` that the tool returned.
        observation: Words that came with the image, or "".
    """

    text: str
    call: ToolCall | None = None
    image: LazyImage | None = None
    observation: str = ""

    @property
    def spoken(self) -> str:
        """``R_i`` as it is trained: reasoning, then the call."""
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
        question: The question Q. Images come before it, or where an ``IMAGE`` stands for each of them.
        steps: T; every step but the last has an image, the last has neither image nor call.
        answer: The answer alone.
        task: A label to group by, or "".
        system: The system prompt, or "" for the chat template's own.
        notes: What its reader decided, changed or left out, by kind; checks and runs count it.

    Raises:
        DataError: If a part is missing or out of place, or the texts have more than ``MAX_TEXT`` characters, or one
            that UTF-8 cannot write.
    """

    id: str
    images: tuple[LazyImage, ...]
    question: str
    steps: tuple[Step, ...]
    answer: str
    task: str = ""
    system: str = ""
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        texts = [self.id, self.task, self.system, self.question, self.answer]
        for step in self.steps:
            texts += [step.text, step.observation]
            if (call := step.call) is not None:
                texts += [call.name, call.written or "", json.dumps(dict(call.arguments), ensure_ascii=False)]
        _check_texts(f"Trajectory {self.id[:SHOWN]!r}", texts)
        if not self.images:
            raise DataError(f"Trajectory {self.id!r} has a question but no image; every example needs at least one.")
        if not self.question.strip():
            raise DataError(f"Trajectory {self.id!r} has an empty question.")
        marks = self.question.count(IMAGE)
        if marks not in (0, len(self.images)) or self.question.rstrip().endswith(IMAGE):
            raise DataError(
                f"Trajectory {self.id!r}: its question has {marks} {IMAGE} for {len(self.images)} images; it needs "
                "none, or one for each image with words after the last.",
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
        for i, step in enumerate(self.steps, start=1):
            if not step.spoken.strip():
                raise DataError(f"Trajectory {self.id!r}: step {i} of {len(self.steps)} has no text to train on.")

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
        """How many tool calls the trajectory has: 0, 1, or more."""
        return len(self.steps) - 1


@final
@dataclass(frozen=True)
class MultipleChoice:
    """One held-out multiple-choice item.

    Args:
        id: Unique in its set.
        images: The input images.
        prompt: The question with its options, exactly as it is asked.
        options: The option texts, in the order of the letters A, B, C, ...
        answer: Index of the right option.
        task: A label to group by.
        group: Items of one group are right together or not at all (a pair of MMVP), or "".

    Raises:
        DataError: If the options or the answer are not what they must be, or the texts, as of a trajectory.
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


def _check_texts(whose: str, texts: Sequence[str]) -> None:
    """Refuse texts that are too long together, or that no file could hold: JSON can spell half of a character."""
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
