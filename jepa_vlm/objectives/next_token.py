"""Supervised fine-tuning: predict each token of the reasoning."""

from __future__ import annotations

from typing import Literal, final

from jepa_vlm.encoders import States
from jepa_vlm.losses.token_cross_entropy import token_cross_entropies, token_cross_entropy
from jepa_vlm.terms import Term, TermValue, Unit
from jepa_vlm.views import Conversation, View, ViewRequest


@final
class NextToken(Term):
    """L_gen: cross-entropy of every reasoning token and end of turn given all before it (paper, section 3.3).

    Divided by the number of supervised tokens. Tool images and the template's own tokens are read, not trained.

    Args:
        trained: ``all`` turns of the trajectory (the paper), or the ``last`` alone (the released code on the LVR data).
        chunk: Rows whose logits are held at once.
        view: Another view whose supervised tokens are trained, in place of the conversation, such as a
            ``LatentConversation``.

    Raises:
        ValueError: If ``chunk`` is below 1, or turns are to be left out of another view.
    """

    name = "next_token"

    def __init__(self, *, trained: Literal["all", "last"] = "all", chunk: int = 1024, view: View | None = None) -> None:
        super().__init__()
        if chunk < 1:
            raise ValueError(f"chunk must be at least 1, got {chunk}.")
        if view is not None and trained != "all":
            raise ValueError(
                f"trained={trained!r} is of the conversation; the view {view!r} says itself what it trains."
            )
        self.view: View = Conversation(trained=trained) if view is None else view
        self.chunk = chunk

    @property
    def _request(self) -> ViewRequest:
        return ViewRequest(view=self.view, region="supervised")

    def requests(self) -> tuple[ViewRequest, ...]:
        """See ``Term.requests``."""
        return (self._request,)

    def unit(self) -> Unit:
        """See ``Term.unit``."""
        return Unit("tokens", self._request)

    def forward(self, states: States) -> TermValue:
        """See ``Term.forward``."""
        region = states.regions[self._request]
        read = (region.hidden, region.labels, states.head)
        if not states.by_example:
            return TermValue(token_cross_entropy(*read, chunk=self.chunk))
        each = token_cross_entropies(*read, chunk=self.chunk)
        return TermValue(each.sum(), each=each.detach(), document=region.document)

    def extra_repr(self) -> str:
        """Show what is trained."""
        return f"trained={self.view.trained!r}" if isinstance(self.view, Conversation) else f"view={self.view}"
