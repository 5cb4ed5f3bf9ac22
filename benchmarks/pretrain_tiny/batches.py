"""Lessons as tensors: pictures as patches, turns as short right-padded rows that continue their picture's prefix."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, final

import numpy as np
import torch
from einops import rearrange, repeat
from torch import Tensor
from torch.utils.data import IterableDataset

from benchmarks.pretrain_tiny.curriculum import curriculum
from benchmarks.pretrain_tiny.lessons import Form, Lesson, Turn, lessons
from jepa_vlm.playground.canvas import GRID
from jepa_vlm.playground.tasks.chart_reading import LEVELS
from jepa_vlm.playground.vocabulary import COLORS, LETTERS, SHAPES

IGNORED = -100
WIDTH = 72  # tokens of the longest turn; its prefix comes on top
NOTHING = "nothing"
WORDS = ((*COLORS, NOTHING), (*SHAPES, *LEVELS, "hole", "fits", NOTHING))  # a cell's colour, and what it is
SHOWN = (*WORDS, *((False, True),) * 4, *((*COLORS, None),) * 4)  # by slot: and its ways, and its quarters
QUARTERS_FROM = 6  # slot


@final
@dataclass(frozen=True)
class Batch:
    """Pictures of one size with their turns.

    Args:
        pixels: Patches as the model takes them.
        grid: Patches to a side of a picture.
        picture_of: For each turn, its picture.
        input_ids: Turns without their prefix, right-padded.
        labels: The answers, at the places of their tokens; ``IGNORED`` elsewhere.
        shown: For each picture, slot and cell, an index into ``SHOWN``, or ``IGNORED``; None for close-ups.
        kinds: For each turn, what it asks and in which form.
        letter_of: At the last token of each listed option its letter's token, ``IGNORED`` elsewhere, as ``input_ids``.
        answer_word: For each turn, the token that its answer ends with when it is given as a word.
        fitting: Weight of telling the piece that fits, as in ``Mix``.
    """

    pixels: Tensor
    grid: int
    picture_of: Tensor
    input_ids: Tensor
    labels: Tensor
    shown: Tensor | None
    kinds: tuple[tuple[str, Form], ...]
    letter_of: Tensor
    answer_word: Tensor
    fitting: float = 0.0

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        moved: dict[str, Any] = {
            f.name: value.to(device) for f in fields(self) if isinstance(value := getattr(self, f.name), Tensor)
        }
        return replace(self, **moved)


@final
class Encoder:
    """Turns lessons into tensors, with a backbone's own processor and chat template."""

    def __init__(self, processor: Any) -> None:
        self.tokenizer, images = processor.tokenizer, processor.image_processor
        self.patch, self.merge, self.frames = images.patch_size, images.merge_size, images.temporal_patch_size
        self.mean, self.std = (np.asarray(values, np.float32) for values in (images.image_mean, images.image_std))
        chat = [
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "\0"}]},
            {"role": "assistant", "content": "\1"},
        ]
        rendered = processor.apply_chat_template(chat, tokenize=False)
        self.before, rest = rendered.split("\0")
        self.between, after = rest.split("\1")
        self.end = after.strip()
        self.image_token = processor.image_token
        self.pad = self.tokenizer.pad_token_id
        self.letters = [self.tokenizer.encode(letter)[-1] for letter in LETTERS]

    def prefix(self, grid: int) -> Tensor:
        """Return the tokens before a question, with a picture of ``grid`` patches to a side."""
        tokens = self.image_token * (grid // self.merge) ** 2
        return torch.tensor(self.tokenizer.encode(self.before.replace(self.image_token, tokens)))

    def patches(self, pixels: np.ndarray[Any, Any]) -> Tensor:
        """Return what the processor makes of pictures of one size: (pictures height width rgb) to (patches values)."""
        normal = (pixels.astype(np.float32) / 255 - self.mean) / self.std
        patches = rearrange(
            normal, "n (gh mh ph) (gw mw pw) c -> (n gh gw mh mw) c ph pw",
            mh=self.merge, mw=self.merge, ph=self.patch, pw=self.patch,
        )  # fmt: skip
        return torch.from_numpy(repeat(patches, "n c ph pw -> n (c t ph pw)", t=self.frames))

    def encode(
        self, drawn: Sequence[tuple[Lesson, np.random.Generator]], *, letters: float, listed: float | None = None
    ) -> Batch:
        """Return a batch of lessons whose pictures have one size.

        Args:
            drawn: Lessons, and the generators that their forms and pictures are drawn with.
            letters, listed: As in ``Mix``; ``listed`` is like ``letters`` if it is not given.
        """
        shares = letters, letters if listed is None else listed
        turns = [(turn, _form(turn, rng, *shares), n) for n, (lesson, rng) in enumerate(drawn) for turn in lesson.turns]
        pictures = np.stack([np.asarray(lesson.picture.draw(rng)) for lesson, rng in drawn])
        prompts = [turn.prompt(form) + self.between for turn, form, _ in turns]
        asked = self._ids(prompts)
        answered = self._ids([turn.reply(form) + self.end for turn, form, _ in turns])
        input_ids = torch.full((len(turns), WIDTH), self.pad)
        labels = torch.full((len(turns), WIDTH), IGNORED)
        for row, (question, answer) in enumerate(zip(asked, answered, strict=True)):
            end = len(question) + len(answer)
            if end > WIDTH:
                raise ValueError(f"A turn takes {end} tokens, more than {WIDTH}: {turns[row][0]}.")
            input_ids[row, :end] = torch.tensor([*question, *answer])
            labels[row, len(question) : end] = torch.tensor(answer)
        letter_of = torch.full((len(turns), WIDTH), IGNORED)
        for row, (prompt, (turn, form, _)) in enumerate(zip(prompts, turns, strict=True)):
            if form != "word":
                ends = self._ends(prompt, turn.options)
                letter_of[row, ends] = torch.tensor(self.letters[: len(ends)])
        words = self._ids([f" {turn.answer}" for turn, _, _ in turns])
        longest = int((labels != IGNORED).nonzero()[:, 1].max()) + 1
        shown = [_shown(lesson) for lesson, _ in drawn if lesson.cells is not None]
        return Batch(
            pixels=self.patches(pictures),
            grid=pictures.shape[1] // self.patch,
            picture_of=torch.tensor([n for _, _, n in turns]),
            input_ids=input_ids[:, :longest],
            labels=labels[:, :longest],
            shown=torch.stack(shown) if shown else None,
            kinds=tuple((turn.kind, form) for turn, form, _ in turns),
            letter_of=letter_of[:, :longest],
            answer_word=torch.tensor([word[-1] for word in words]),
        )

    def _ends(self, prompt: str, options: Sequence[str]) -> list[int]:
        """Return the token that each listed option ends with."""
        at, ends = prompt.rindex(f" {LETTERS[0]} {options[0]} "), []
        starts = [begin for begin, _ in self.tokenizer(prompt, return_offsets_mapping=True).offset_mapping]
        for letter, option in zip(LETTERS, options, strict=False):
            at = prompt.index(f" {letter} {option}", at) + len(f" {letter} {option}")
            ends.append(bisect_left(starts, at) - 1)
        return ends

    def _ids(self, texts: list[str]) -> list[list[int]]:
        encoded: list[list[int]] = self.tokenizer(texts).input_ids
        return encoded


def _form(turn: Turn, rng: np.random.Generator, letters: float, listed: float) -> Form:
    if not turn.options:
        return "word"
    draw = rng.random()
    if turn.needs_options:
        return "letter" if draw < listed else "choice"
    if draw < letters:
        return "letter"
    return "choice" if draw < 1.4 * letters else "word"


def _shown(lesson: Lesson) -> Tensor:
    """Return what each cell shows, (slots rows columns), as indices into ``SHOWN``.

    A cell shows nothing unless it is said to show something; its ways and quarters are ignored unless they are given.
    """
    nothing = [words.index(NOTHING) for words in WORDS] + [IGNORED] * (len(SHOWN) - len(WORDS))
    grid = repeat(torch.tensor(nothing), "slots -> slots rows columns", rows=GRID, columns=GRID).clone()
    for (column, row), said in (lesson.cells or {}).items():
        values = (said.color or NOTHING, said.thing or NOTHING, *said.ways)
        for slot, value in (*enumerate(values), *enumerate(said.quarters, QUARTERS_FROM)):
            grid[slot, row - 1, column - 1] = SHOWN[slot].index(value)
    return grid


@final
class Stream(IterableDataset[Batch]):
    """The batches of training; batch ``step`` is the same wherever the stream begins.

    Args:
        encoder: Makes the tensors.
        seed: Of the lessons.
        steps: Of the whole training.
        start: The first step.
    """

    def __init__(self, *, encoder: Encoder, seed: int, steps: int, start: int = 0) -> None:
        self.encoder, self.seed, self.steps, self.start = encoder, seed, steps, start

    def __iter__(self) -> Iterator[Batch]:
        torch.set_num_threads(1)
        for step in range(self.start, self.steps):
            mix = curriculum(step, self.steps)
            drawn = [
                lesson
                for teacher, count in mix.pictures.items()
                for lesson in lessons(teacher, count=count, seed=(self.seed, step), difficulty=mix.difficulty)
            ]
            batch = self.encoder.encode(drawn, letters=mix.letters, listed=mix.listed)
            yield replace(batch, fitting=mix.fitting)
