"""Views: which turns of a trajectory are encoded (paper, section 3.2), and how each becomes tokens."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, final

import torch

from jepa_vlm.errors import DataError
from jepa_vlm.views.tokenized import IGNORED, TokenizedView

if TYPE_CHECKING:
    from jepa_vlm.serialization import RenderedExample
    from jepa_vlm.trajectories import Trajectory

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
