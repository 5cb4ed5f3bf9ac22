"""The conversation with latent slots in the place of tools: what reconstruction methods train on.

Where an expert called a tool and looked at its picture, the model thinks: one assistant turn, in which each look is
START, some slots, END. What stands in a slot's place in the data, and what the decoder is fed there, are two choices.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, final

import torch

from jepa_vlm.errors import DataError
from jepa_vlm.views.view import TokenizedView, View

if TYPE_CHECKING:
    from jepa_vlm.serialization import RenderedExample
    from jepa_vlm.trajectories import Step, Trajectory

FEEDS, BORDERS = ("target", "token", "state"), ("trained", "given")

Place = tuple[int, Sequence[int]]  # an image, counted over ``all_images``, and rows of its features


@final
@dataclass(frozen=True)
class LatentSegment:
    """The latent tokens between one START and its END.

    Args:
        count: Number of latent tokens.
        targets: What each of them stands for: the mean of these features. Empty where they have no target.
    """

    count: int
    targets: tuple[Place, ...] = ()

    @classmethod
    def at(cls, targets: Sequence[Place]) -> LatentSegment:
        """Return the segment with one latent token for each target."""
        return cls(len(targets), tuple(targets))


@dataclass(frozen=True)
class SlotContent:
    """What the slots of a look stand for. Subclasses are final and carry their parameters."""

    has_target: ClassVar[bool] = True

    def turn(self, example: RenderedExample) -> list[tuple[str, LatentSegment | None]]:
        """Return the words of the one assistant turn, in order, each with the segment that follows it, if one does.

        Raises:
            DataError: If a slot has nothing to stand for.
        """
        turn, image = [], len(example.trajectory.images)
        for number, step in enumerate(example.trajectory.steps, start=1):
            segment = None
            if step.image is not None:
                where = f"Trajectory {example.trajectory.id!r}: step {number}"
                segment = LatentSegment.at(self.targets(example, where, step, image))
                image += 1
            turn.append((step.text.strip(), segment))
        return turn

    @abstractmethod
    def targets(self, example: RenderedExample, where: str, step: Step, image: int) -> list[Place]:
        """Return what each latent token stands for that replaces one tool call and its picture.

        Args:
            example: The trajectory and the tokens of its images.
            where: The step, in words, for errors.
            step: The step with the call.
            image: Number of the picture that the tool returned, counted over ``all_images``.

        Raises:
            DataError: If there is nothing to stand for.
        """

    @property
    def needs(self) -> str:
        """See ``View.needs``: a look at a picture that a tool returned, if not said otherwise."""
        return "a picture that a tool returned"

    def met(self, trajectory: Trajectory) -> bool:
        """See ``View.met``."""
        return bool(trajectory.tool_images)


@final
@dataclass(frozen=True)
class RegionFeatures(SlotContent):
    """A slot for each visual token of the image that the call's box touches, row by row (LVR).

    Its target is that token's feature, which the decoder has seen before: a slice of the image, not an encoded crop.
    Source: VincentLeebang/lvr@637a9f7, src/dataset/lvr_sft_dataset_packed.py, src/train/monkey_patch_forward_lvr.py.
    """

    @property
    def needs(self) -> str:
        """See ``View.needs``."""
        return "a tool's picture whose call has a box"

    def targets(self, example: RenderedExample, where: str, step: Step, image: int) -> list[Place]:
        """See ``SlotContent.targets``."""
        if step.call is None or step.call.box is None:
            raise DataError(
                f"{where} looks at a picture, but has no box: its slots stand for the region of the image that a call "
                "looked at. Take data whose calls have boxes, or reconstruct whole pictures: recipe mirage.",
                "box",
            )
        shown = step.call.image
        if not 0 <= shown < image:
            raise DataError(
                f"{where} calls a tool on image {shown}, counted from 0, but only {image} images come before the "
                "tool's own; correct the call's image.",
                "box",
            )
        try:
            return [(shown, (row,)) for row in example.rows_in(step.call.box, shown)]
        except DataError as err:
            raise err.at(where) from None


@final
@dataclass(frozen=True)
class PooledFeatures(SlotContent):
    """``chunks`` slots for each picture that a tool returned: the means of as many equal runs of its features (Mirage).

    Features that are left over behind the last whole run are not used.

    Args:
        chunks: Slots for each picture.

    Raises:
        ValueError: If it is less than 1.

    Source: UMass-Embodied-AGI/Mirage@53f26de; its latent size is 4.
    """

    chunks: int = 4

    def __post_init__(self) -> None:
        if self.chunks < 1:
            raise ValueError(f"chunks must be at least 1, got {self.chunks}.")

    def targets(self, example: RenderedExample, where: str, step: Step, image: int) -> list[Place]:
        """See ``SlotContent.targets``."""
        length = example.images[image].length
        run = length // self.chunks
        if not run:
            raise DataError(f"{where} has a picture of {length} tokens, too few for {self.chunks} chunks.", "picture")
        return [(image, range(at * run, (at + 1) * run)) for at in range(self.chunks)]


@final
@dataclass(frozen=True)
class PictureFeatures(SlotContent):
    """A slot for each feature of the picture that a tool returned, encoded anew by the vision tower."""

    def targets(self, example: RenderedExample, where: str, step: Step, image: int) -> list[Place]:
        """See ``SlotContent.targets``."""
        return [(image, (row,)) for row in range(example.images[image].length)]


@final
@dataclass(frozen=True)
class Thoughts(SlotContent):
    """``steps * each`` slots in the place of the first ``steps`` steps of reasoning, words and all (Coconut).

    They have no target. All of them form one look, in front of the words that are left; it is there, and empty, where
    nothing is replaced. Every example has as many, also one with fewer steps, of which the last, with the answer, is
    never replaced: so inference needs no number from the data, and the number says nothing of the example.

    Args:
        steps: How many steps are replaced.
        each: Slots for each of them.
        words: Which words are left: those of the other ``steps``, or the ``answer`` alone.

    Raises:
        ValueError: If ``steps`` is negative, ``each`` is less than 1, or ``words`` is unknown.

    Source: Coconut, arXiv:2412.06769, section 3; facebookresearch/coconut@27273cb, dataset.py (``pad_latent_to_max``;
    ``words="answer"`` is its last stage).
    """

    has_target: ClassVar[bool] = False
    steps: int = 1
    each: int = 1
    words: Literal["steps", "answer"] = "steps"

    def __post_init__(self) -> None:
        if self.steps < 0 or self.each < 1:
            raise ValueError(f"Thoughts need steps >= 0 and each >= 1, got {self.steps} and {self.each}.")
        if self.words not in ("steps", "answer"):
            raise ValueError(f"words must be 'steps' or 'answer', got {self.words!r}.")

    @property
    def needs(self) -> str:
        """See ``View.needs``: steps that can be replaced; nothing where none is to be."""
        return "a step of reasoning before its last one" if self.steps else ""

    def met(self, trajectory: Trajectory) -> bool:
        """See ``View.met``."""
        return trajectory.calls > 0 or not self.steps

    def turn(self, example: RenderedExample) -> list[tuple[str, LatentSegment | None]]:
        """See ``SlotContent.turn``: one segment, then the words that are left."""
        trajectory = example.trajectory
        replaced = trajectory.calls if self.words == "answer" else min(self.steps, trajectory.calls)
        left = [(step.text.strip(), None) for step in trajectory.steps[replaced:]]
        return [("", LatentSegment(self.steps * self.each)), *left]

    def targets(self, example: RenderedExample, where: str, step: Step, image: int) -> list[Place]:
        """See ``SlotContent.targets``: none."""
        return []


@final
@dataclass(frozen=True)
class LatentConversation(View):
    """System, user(I, Q), and one assistant turn: the steps' words, and for each look START, slots, END.

    Tool calls and tool pictures are not shown. The words are trained, the slots are not.

    Args:
        slots: What they stand for, and so how many there are.
        fed: What the decoder is fed in a slot. ``target``: what the slot stands for (teacher forcing). ``token``: the
            embedding of ``token``, one learned vector for all slots. ``state``: the state before it, one slot after
            the other, as at inference.
        start, end: Tokens of the vocabulary around the slots of a look; see ``Recipe.added_tokens``.
        token: Fed in every slot where ``fed`` is ``token``, and otherwise not used.
        after: Words behind END.
        borders: ``trained``: the token loss covers START, END and ``after``, so that the model writes them. ``given``:
            it does not, and inference has to write them (``Latents(entry="forced", leave="count")``).

    Raises:
        ValueError: If ``fed`` or ``borders`` is unknown, or slots without a target are to be fed it.
    """

    slots: SlotContent
    fed: Literal["target", "token", "state"] = "target"
    start: str = "<|latent_start|>"
    end: str = "<|latent_end|>"
    token: str = "<|latent|>"
    after: str = "\n"
    borders: Literal["trained", "given"] = "trained"
    name: ClassVar[str] = "latent_conversation"
    regions: ClassVar[tuple[str, ...]] = ("latents", "before_latents")
    is_trained: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.fed not in FEEDS:
            raise ValueError(f"fed must be one of {', '.join(FEEDS)}; got {self.fed!r}.")
        if self.fed == "target" and not self.slots.has_target:
            raise ValueError(f"{self.slots} have no target that could be fed; use fed='state' or fed='token'.")
        if self.borders not in BORDERS:
            raise ValueError(f"borders must be one of {', '.join(BORDERS)}; got {self.borders!r}.")

    @property
    def needs(self) -> str:
        """See ``View.needs``: what its slots stand for."""
        return self.slots.needs

    def met(self, trajectory: Trajectory) -> bool:
        """See ``View.met``."""
        return self.slots.met(trajectory)

    @property
    def tokens(self) -> tuple[str, ...]:
        """The tokens that the vocabulary must have."""
        return (self.start, self.end, self.token) if self.fed == "token" else (self.start, self.end)

    @property
    def latent_marks(self) -> tuple[str, str]:
        """See ``View.latent_marks``."""
        return self.start, self.end

    @property
    def sequential(self) -> bool:
        """See ``View.sequential``."""
        return self.fed == "state"

    @property
    def feeds_targets(self) -> bool:
        """See ``View.feeds_targets``."""
        return self.fed == "target"

    @property
    def has_targets(self) -> bool:
        """See ``View.has_targets``."""
        return self.slots.has_target

    def check(self, example: RenderedExample) -> None:
        """See ``View.check``: every slot stands for something, and no text holds a border token."""
        example.refuse_special_tokens(also=self.tokens)
        self.slots.turn(example)

    def render(self, example: RenderedExample, soft_tokens: int = 0) -> TokenizedView:
        """See ``View.render``; latent tokens are put in between each START and END."""
        example.refuse_special_tokens(also=self.tokens)
        start, end, *_ = ids = [example.token_id(token) for token in self.tokens]
        example.refuse_joint_images()
        turn = self.slots.turn(example)
        segments = [segment for _, segment in turn if segment is not None]
        tokens = example.conversation(example.trajectory.saying(self._text(turn)), structure=self.tokens)
        pairs = (tokens.input_ids[:-1] == start) & (tokens.input_ids[1:] == end)
        starts = pairs.nonzero()[:, 0].tolist()
        if self.borders == "given":
            tokens = tokens.untrained([(at, at + 1, len(self.after)) for at in starts])
        cut = tokens.whole(
            insertions=[(at, segment.count) for at, segment in zip(starts, segments, strict=True)],
            filler=ids[-1] if self.fed == "token" else example.pad_id,
        )
        targets = [target for segment in segments for target in segment.targets]
        sources = [(number, image, row) for number, (image, own) in enumerate(targets) for row in own]
        return replace(
            cut,
            trajectory=cut.trajectory | cut.slots,
            slot_sources=torch.tensor(sources, dtype=torch.long).reshape(-1, 3),
            marks={"latents": cut.slots, "before_latents": cut.slots},
        )

    def _text(self, turn: Sequence[tuple[str, LatentSegment | None]]) -> str:
        """Return the turn's text, in which START and END stand side by side for each segment."""
        text, between = "", ""
        for said, segment in turn:
            text += (between if said else "") + said
            between = " " if text else ""
            if segment is not None:
                text, between = text + self.start + self.end + self.after, ""
        return text.strip()
