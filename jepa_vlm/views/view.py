"""Views: which turns of a trajectory are encoded (paper, section 3.2). Pure data; templates make tokens of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, final

if TYPE_CHECKING:
    from jepa_vlm.trajectories import Trajectory

CONTEXTS = ("none", "image", "question")


@dataclass(frozen=True)
class View:
    """A selection of turns. Subclasses are final and carry the selection's parameters."""

    name: ClassVar[str]
    slots_allowed: ClassVar[bool] = False

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


@final
@dataclass(frozen=True)
class Question(View):
    """System and user(I, Q); a predictor's slots come right after the user's content, inside the user's turn."""

    name: ClassVar[str] = "question"
    slots_allowed: ClassVar[bool] = True


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


@final
@dataclass(frozen=True)
class Answer(View):
    """The answer alone, as if the expert had said nothing else: no question, no image, no reasoning (VL-JEPA's target).

    The backbone reads it as the trajectory ``assistant(answer)``, cut out of its rendered conversation like every
    trajectory; a text encoder of its own reads the bare text.
    """

    name: ClassVar[str] = "answer"
