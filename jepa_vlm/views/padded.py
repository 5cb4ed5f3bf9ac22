"""The conversation with tokens for experts ahead of the reasoning (CoVT). They are of the vocabulary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from jepa_vlm.views.view import View


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


@final
@dataclass(frozen=True)
class PaddedConversation(View):
    """The conversation, its first assistant turn opening with every expert's pads, one kind after the other.

    As pads are tokens that the model writes, plain generation makes them at inference. The words around them are
    trained like the reasoning.

    Args:
        pads: By expert, in order.
        close: Words between the last pad and the reasoning.
        supervised: Whether the pads themselves are trained by the token loss, which writing them needs (CoVT's code).

    Raises:
        ValueError: If there are no pads, or two kinds have one token.
    """

    pads: tuple[Pads, ...]
    close: str = ""
    supervised: bool = True
    name: ClassVar[str] = "padded_conversation"

    def __post_init__(self) -> None:
        if not self.pads or len(set(self.tokens)) < len(self.pads):
            raise ValueError(f"A padded conversation needs pads of different tokens, got {self.pads!r}.")

    @property
    def tokens(self) -> tuple[str, ...]:
        """The added tokens, which a recipe has to declare."""
        return tuple(pads.token for pads in self.pads)

    @property
    def count(self) -> int:
        """Pads of all kinds together."""
        return sum(pads.count for pads in self.pads)

    @property
    def opening(self) -> str:
        """See ``View.opening``."""
        return "".join(pads.words + pads.token * pads.count for pads in self.pads) + self.close
