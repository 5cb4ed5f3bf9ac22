"""The conversation with tokens for experts in it (CoVT). They are of the vocabulary."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal, final

import torch

from jepa_vlm.errors import BackboneError
from jepa_vlm.views import IGNORED, TokenizedView, View

if TYPE_CHECKING:
    from jepa_vlm.serialization import RenderedExample
    from jepa_vlm.trajectories import Trajectory


@final
@dataclass(frozen=True)
class Pads:
    """The places of one expert.

    Args:
        token: An added token, which stands ``count`` times.
        count: How many.
        words: Written before them.

    Raises:
        ValueError: If there is no token, or none of it.
    """

    token: str
    count: int
    words: str = ""

    def __post_init__(self) -> None:
        if not self.token or self.count < 1:
            raise ValueError(f"Pads need a token and a count of at least 1, got {self.token!r} and {self.count}.")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the pads stand, and the words around them. Subclasses are final.

    Args:
        lead: Words ahead of the first expert's.
        between: Words between two experts.
        close: Words behind the last pad.
    """

    lead: str = ""
    between: str = ""
    close: str = ""

    @abstractmethod
    def put(self, text: str, trajectory: Trajectory) -> Trajectory:
        """Return the trajectory with the text of the pads in it."""


@final
@dataclass(frozen=True, kw_only=True)
class BehindImages(Place):
    """In the user turn, between the image (the last of several) and the question; they are read, not trained."""

    def put(self, text: str, trajectory: Trajectory) -> Trajectory:
        """See ``Place.put``."""
        places = trajectory.image_places
        words, at = (trajectory.question, places[-1]) if places else (trajectory.question.strip(), 0)
        return replace(trajectory, question=words[:at] + text + words[at:])


@final
@dataclass(frozen=True, kw_only=True)
class AsAnswer(Place):
    """The pads alone answer a question of its own; the trajectory's question, reasoning and tool images are not shown.

    Args:
        question: What is asked of the input images.

    Raises:
        ValueError: If nothing is asked.
    """

    question: str

    def __post_init__(self) -> None:
        if not self.question.strip():
            raise ValueError("Pads that answer need a question, got none.")

    def put(self, text: str, trajectory: Trajectory) -> Trajectory:
        """See ``Place.put``."""
        return replace(trajectory.saying(text), question=self.question, image_places=())


@final
@dataclass(frozen=True, kw_only=True)
class AheadOfReasoning(Place):
    """The first assistant turn opens with them, so that plain generation writes them at inference."""

    def put(self, text: str, trajectory: Trajectory) -> Trajectory:
        """See ``Place.put``."""
        first, *others = trajectory.steps
        return replace(trajectory, steps=(replace(first, text=text + first.spoken.strip(), call=None), *others))


@dataclass(frozen=True)
class Kinds:
    """Which experts' pads an example has. Subclasses are final."""

    @abstractmethod
    def chosen(self, example: str, of: int) -> tuple[int, ...]:
        """Return the numbers of an example's experts among ``of``, ascending."""


@final
@dataclass(frozen=True)
class AllKinds(Kinds):
    """Every example has every expert's."""

    def chosen(self, example: str, of: int) -> tuple[int, ...]:
        """See ``Kinds.chosen``."""
        return tuple(range(of))


@final
@dataclass(frozen=True)
class SomeKinds(Kinds):
    """Some examples have no pads, the others those of a random part of the experts, of any size alike.

    What an example has depends on its id and the seed alone: it is the same in every epoch, process and engine.

    Args:
        none: Share of examples without pads, in [0, 1).
        seed: Of the draws.

    Raises:
        ValueError: If the share is out of range.
    """

    none: float = 1 / 6
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.none < 1:
            raise ValueError(f"The share of examples without pads must lie in [0, 1), got {self.none}.")

    def chosen(self, example: str, of: int) -> tuple[int, ...]:
        """See ``Kinds.chosen``."""
        if self._draw(example, "none") < self.none:
            return ()
        size = 1 + int(self._draw(example, "size") * of)
        return tuple(sorted(sorted(range(of), key=lambda number: self._draw(example, f"expert {number}"))[:size]))

    def _draw(self, example: str, what: str) -> float:
        digest = hashlib.sha256(f"pads {self.seed} {what} {example}".encode()).digest()
        return int.from_bytes(digest[:6], "big") / 2**48


@final
@dataclass(frozen=True)
class PaddedConversation(View):
    """The conversation with pads of experts, one kind after the other, each kind behind its words.

    The words around pads are trained like the reasoning, where an assistant says them.

    Args:
        pads: By expert, in order.
        place: Where they stand.
        kinds: Which of them an example has; without any, it is the plain conversation.
        turns: ``all`` of the trajectory's, or the ``last`` alone, which then answers at once: tool calls, what is said
            with them and their images are left out. A model that calls no tools at inference needs the latter.
        supervised: Whether the pads themselves are trained by the token loss, which writing them needs (CoVT's code).

    Raises:
        ValueError: If there are no pads, two kinds have one token, ``turns`` is unknown, or pads that are the whole
            answer may be missing or are not trained.
    """

    pads: tuple[Pads, ...]
    place: Place = field(default_factory=AheadOfReasoning)
    kinds: Kinds = field(default_factory=AllKinds)
    turns: Literal["all", "last"] = "all"
    supervised: bool = True
    name: ClassVar[str] = "padded_conversation"
    regions: ClassVar[tuple[str, ...]] = ("pads",)

    def __post_init__(self) -> None:
        if not self.pads or len(set(self.tokens)) < len(self.pads):
            raise ValueError(f"A padded conversation needs pads of different tokens, got {self.pads!r}.")
        if self.turns not in ("all", "last"):
            raise ValueError(f"turns must be 'all' or 'last', got {self.turns!r}.")
        if isinstance(self.place, AsAnswer):
            if isinstance(self.kinds, SomeKinds) and self.kinds.none:
                raise ValueError(f"An answer of pads cannot be without any: take SomeKinds(none=0), got {self.kinds}.")
            if not self.supervised:
                raise ValueError("An answer of pads has nothing else to train; take supervised=True.")

    @property
    def needs(self) -> str:
        """See ``View.needs``: expert tokens, where ``kinds`` may leave all of them out."""
        return "" if isinstance(self.kinds, AllKinds) else "expert tokens by the rule of the view's kinds"

    def met(self, trajectory: Trajectory) -> bool:
        """See ``View.met``."""
        return bool(self.chosen(trajectory.id))

    @property
    def tokens(self) -> tuple[str, ...]:
        """The added tokens, which a recipe has to declare."""
        return tuple(pads.token for pads in self.pads)

    def chosen(self, example: str) -> tuple[int, ...]:
        """Return the numbers of the pads that the example of this id has, in order."""
        return self.kinds.chosen(example, len(self.pads))

    def written(self, chosen: Sequence[int]) -> str:
        """Return the pads of these numbers with the words around them; nothing for none."""
        each = [self.pads[number].words + self.pads[number].token * self.pads[number].count for number in chosen]
        return self.place.lead + self.place.between.join(each) + self.place.close if each else ""

    def shown(self, trajectory: Trajectory) -> Trajectory:
        """Return the trajectory as the view shows it."""
        if self.turns == "last":
            trajectory = replace(trajectory, steps=trajectory.steps[-1:])
        text = self.written(self.chosen(trajectory.id))
        return self.place.put(text, trajectory) if text else trajectory

    def render(self, example: RenderedExample, soft_tokens: int = 0) -> TokenizedView:
        """See ``View.render``; no text of the trajectory can hold a pad."""
        if unknown := [token for token in self.tokens if token not in example.special_tokens]:
            raise BackboneError(
                f"The pads {', '.join(unknown)} are no special tokens of the backbone; declare them: "
                f"Recipe(added_tokens={tuple(unknown)}), or load_backbone(..., added_tokens=...)."
            )
        example.refuse_special_tokens(also=self.tokens)
        whole = example.conversation(self.shown(example.trajectory), structure=self.tokens).whole()
        pads = torch.isin(whole.input_ids, torch.tensor([example.token_id(token) for token in self.tokens]))
        labels = whole.labels if self.supervised else whole.labels.masked_fill(pads, IGNORED)
        return replace(whole, labels=labels, marks={"pads": pads})
