"""The conversation with latent slots in the place of tools: what reconstruction methods train on.

Where an expert called a tool and looked at its picture, the model thinks: one assistant turn, in which each look is
START, some slots, END. What stands in a slot's place in the data, and what the decoder is fed there, are two choices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, final

from jepa_vlm.views.view import View

if TYPE_CHECKING:
    from jepa_vlm.trajectories import Trajectory

FEEDS, BORDERS = ("target", "token", "state"), ("trained", "given")


@dataclass(frozen=True)
class SlotContent:
    """What the slots of a look stand for. Subclasses are final and carry their parameters."""

    has_target: ClassVar[bool] = True

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


@final
@dataclass(frozen=True)
class PictureFeatures(SlotContent):
    """A slot for each feature of the picture that a tool returned, encoded anew by the vision tower."""


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
