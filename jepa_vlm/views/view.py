"""Views: which turns of a trajectory are encoded (paper, section 3.2), and how each becomes tokens."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal, final

import torch
from torch import Tensor

from jepa_vlm.errors import DataError

if TYPE_CHECKING:
    from jepa_vlm.serialization import RenderedExample
    from jepa_vlm.trajectories import Trajectory


IGNORED = -100


@final
@dataclass(frozen=True)
class TokenizedView:
    """One view of one trajectory as tokens.

    Args:
        input_ids: Token identifiers, (tokens,). At slots that are not fed a token's embedding the padding token stands
            in.
        labels: The token where it is trained, -100 elsewhere; at its own position, not shifted.
        text: The rendered text, one placeholder per image, slots not shown.
        images: Which of ``trajectory.all_images`` the view shows, in order.
        slots: True at [PRED] slots, or at the latent slots of a ``LatentConversation``.
        image_tokens: True at image positions.
        content: True at tokens of the parts themselves (texts and images), False at the template's own.
        trajectory: True at T's tokens.
        image_rows: At image positions: which row of the image's features; -1 elsewhere.
        image_index: At image positions: which image (as in ``images``); -1 elsewhere.
        positions: Rotary positions, (axes, tokens).
        readouts: Position of ``last_token``, ``turn_end`` and, with slots, ``last_pred``.
        slot_sources: Of a ``LatentConversation``: what its slots stand for, ("features 3"): the number of the slot in
            the view, an image (as in ``images``, but it need not be shown), a row of its features; else None.
        groups: Tokens of the same number see each other both ways, -1 is causal, (tokens,); None where all is causal.
        marks: By region that the view itself offers (``View.regions``): True at its tokens, (tokens,).
    """

    input_ids: Tensor
    labels: Tensor
    text: str
    images: tuple[int, ...]
    slots: Tensor
    image_tokens: Tensor
    content: Tensor
    trajectory: Tensor
    image_rows: Tensor
    image_index: Tensor
    positions: Tensor
    readouts: Mapping[str, int]
    slot_sources: Tensor | None = None
    groups: Tensor | None = None
    marks: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def needed_images(self) -> tuple[int, ...]:
        """Those that are shown, then those that only slots stand for."""
        sources = () if self.slot_sources is None else self.slot_sources[:, 1].tolist()
        return tuple(dict.fromkeys((*self.images, *sources)))

    def __len__(self) -> int:
        return len(self.input_ids)

    def identity(self) -> Tensor:
        """Return one number per token; two views whose numbers agree up to a position share its computation.

        Text counts by its identifier, an image token by image and row. Slots are -1: they are never shared.
        """
        images = (self.image_index + 1) * 2**40 + self.image_rows
        return torch.where(self.slots, -1, torch.where(self.image_tokens, images, self.input_ids))


CONTEXTS = ("none", "image", "question")


@dataclass(frozen=True)
class View:
    """A selection of turns, which renders itself. Subclasses are final and carry the selection's parameters.

    Args:
        name: Of the view, for logs and pages.
        regions: What can be read of the view beside the regions of every view (``Request.at``).
        slots_allowed: Whether a predictor may place soft tokens into the view.
        has_trajectory: Whether T's tokens are in the view.
        is_trained: Whether the view is encoded with gradient alone, so that it is never a target.
        text_alone: Whether the view is one text without images, which a text encoder can read.
    """

    name: ClassVar[str]
    regions: ClassVar[tuple[str, ...]] = ()
    slots_allowed: ClassVar[bool] = False
    has_trajectory: ClassVar[bool] = True
    is_trained: ClassVar[bool] = False
    text_alone: ClassVar[bool] = False

    @abstractmethod
    def render(self, example: RenderedExample, soft_tokens: int = 0) -> TokenizedView:
        """Return the view's tokens.

        Args:
            example: The trajectory, rendered by the backbone's chat template.
            soft_tokens: Number of learned inputs to make room for; only where ``slots_allowed``.

        Raises:
            DataError: If the trajectory does not have what the view shows.
            BackboneError: If the backbone's tokenizer or images do not fit the view.
        """

    def check(self, example: RenderedExample) -> None:
        """Check what can be checked cheaply before a run begins: no image is decoded.

        Raises:
            DataError: If the trajectory does not have what the view shows.
        """

    @property
    def sequential(self) -> bool:
        """Whether latent tokens are fed the state before them, so that an engine must run them one by one."""
        return False

    @property
    def feeds_targets(self) -> bool:
        """Whether latent tokens are fed what they stand for."""
        return False

    @property
    def has_targets(self) -> bool:
        """Whether latent tokens stand for features, which a term can compare states with."""
        return False

    @property
    def latent_marks(self) -> tuple[str, str] | None:
        """START and END of the view's latent segments, if it has any."""
        return None

    @property
    def needs(self) -> str:
        """What a trajectory must have, in words, for this view to be more than the plain conversation; "" if nothing.

        A term on such a view learns nothing of its own from a trajectory without it.
        """
        return ""

    def met(self, trajectory: Trajectory) -> bool:
        """Say whether a trajectory has what the view needs; known without rendering it."""
        return True


@final
@dataclass(frozen=True)
class Conversation(View):
    """Everything: system, user(I, Q), assistant(R_1), user(I_1), ..., assistant(R_n).

    Args:
        trained: Which turns are supervised: ``all`` of R_1 ... R_n (the paper), or the ``last`` alone (the
            released code on the LVR data).

    Raises:
        ValueError: If ``trained`` is neither.
    """

    trained: Literal["all", "last"] = "all"
    name: ClassVar[str] = "conversation"

    def __post_init__(self) -> None:
        if self.trained not in ("all", "last"):
            raise ValueError(f"trained must be 'all' or 'last', got {self.trained!r}.")

    def render(self, example: RenderedExample, soft_tokens: int = 0) -> TokenizedView:
        """See ``View.render``."""
        tokens = example.conversation()
        whole = tokens.whole()
        if self.trained == "all":
            return whole
        earlier = torch.arange(len(whole)) < tokens.last_turn
        return replace(whole, labels=whole.labels.masked_fill(earlier, IGNORED))


@final
@dataclass(frozen=True)
class Question(View):
    """System and user(I, Q); a predictor's slots come right after the user's content, inside the user's turn."""

    name: ClassVar[str] = "question"
    slots_allowed: ClassVar[bool] = True
    has_trajectory: ClassVar[bool] = False

    def render(self, example: RenderedExample, soft_tokens: int = 0) -> TokenizedView:
        """See ``View.render``; nothing in the view is trained."""
        tokens = example.conversation()
        last = tokens.last_question
        return tokens.cut(
            torch.arange(tokens.x_end),
            last=last,
            turn_end=min(last + 1, tokens.x_end - 1),  # a template may write nothing behind Q
            insertions=[(last, soft_tokens)] if soft_tokens else [],
            filler=example.pad_id,
        )


@final
@dataclass(frozen=True)
class TrajectoryOnly(View):
    """The trajectory's turns, cut out of the rendered conversation and re-based to position 0.

    Args:
        context: What stays in front of T. ``"none"``: nothing (the paper). ``"image"``: the system turn and the first
            user turn's images, its text gone (the released code). ``"question"``: all of x, so that the view is the
            conversation.

    Raises:
        ValueError: If ``context`` is none of these.
    """

    context: Literal["none", "image", "question"] = "none"
    name: ClassVar[str] = "trajectory"

    def __post_init__(self) -> None:
        if self.context not in CONTEXTS:
            raise ValueError(f"context must be one of {', '.join(CONTEXTS)}; got {self.context!r}.")

    def render(self, example: RenderedExample, soft_tokens: int = 0) -> TokenizedView:
        """See ``View.render``."""
        tokens = example.conversation()
        if self.context == "question":
            return tokens.whole()
        kept = torch.arange(tokens.x_end, len(tokens))
        if self.context == "image":
            before = torch.arange(tokens.x_end)
            kept = torch.cat([before[~tokens.question_tokens[: tokens.x_end]], kept])
        return tokens.cut(kept)


@final
@dataclass(frozen=True)
class Answer(View):
    """The answer alone, as if the expert had said nothing else: no question, no image, no reasoning (VL-JEPA's target).

    The backbone reads it as the trajectory ``assistant(answer)``, cut out of its rendered conversation like every
    trajectory; a text encoder of its own reads the bare text.
    """

    name: ClassVar[str] = "answer"
    text_alone: ClassVar[bool] = True

    def render(self, example: RenderedExample, soft_tokens: int = 0) -> TokenizedView:
        """See ``View.render``."""
        tokens = example.conversation(answered_directly(example.trajectory))
        return tokens.cut(torch.arange(tokens.x_end, len(tokens)))

    def check(self, example: RenderedExample) -> None:
        """See ``View.check``: there is an answer, and it holds no special token."""
        example.refuse_special_tokens(answered_directly(example.trajectory))


def answer_of(trajectory: Trajectory) -> str:
    """Return the answer alone.

    Raises:
        DataError: If there is none.
    """
    answer = trajectory.answer.strip()
    if not answer:
        raise DataError(
            f"Trajectory {trajectory.id!r} has an empty answer, and this objective encodes the answer alone; give it "
            "one, or train with another objective.",
            "answer missing",
        )
    return answer


def answered_directly(trajectory: Trajectory) -> Trajectory:
    """Return the example as if the expert had given the answer and nothing else.

    Raises:
        DataError: If there is no answer.
    """
    return trajectory.saying(answer_of(trajectory))
