"""Supervised fine-tuning: predict each token of the reasoning."""

from __future__ import annotations

from typing import Literal, final

import torch

from jepa_vlm.losses.token_cross_entropy import token_cross_entropies, token_cross_entropy
from jepa_vlm.states import States
from jepa_vlm.terms import Denominator, Term, TermValue
from jepa_vlm.views import Conversation, Request, View


@final
class NextToken(Term):
    """L_gen: cross-entropy of every reasoning token and end of turn given all before it (paper, section 3.3).

    Tool images and the template's own tokens are read, not trained.

    Args:
        mean: Over all supervised ``tokens``, or over ``examples``, each of them the mean over its own: then a short
            answer weighs as much as a long one. Batches of one example per device train so where each device's mean is
            averaged, as in CoVT's code.
        trained: ``all`` turns of the trajectory (the paper), or the ``last`` alone (the released code on the LVR data).
        chunk: Rows whose logits are held at once.
        view: Another view whose supervised tokens are trained, in place of the conversation, such as one with latent
            tokens.

    Raises:
        ValueError: If ``mean`` is unknown, ``chunk`` below 1, or turns are to be left out of another view.
    """

    name = "next_token"

    def __init__(
        self,
        *,
        mean: Literal["tokens", "examples"] = "tokens",
        trained: Literal["all", "last"] = "all",
        chunk: int = 1024,
        view: View | None = None,
    ) -> None:
        super().__init__()
        if mean not in ("tokens", "examples"):
            raise ValueError(f"mean must be 'tokens' or 'examples', got {mean!r}.")
        if chunk < 1:
            raise ValueError(f"chunk must be at least 1, got {chunk}.")
        if view is not None and trained != "all":
            raise ValueError(
                f"trained={trained!r} is of the conversation; the view {view!r} says itself what it trains."
            )
        self.view: View = Conversation(trained=trained) if view is None else view
        self.request = Request(self.view, "supervised")
        self.mean, self.chunk = mean, chunk
        self._trained = f"trained={trained!r}" if view is None else f"view={view}"  # as runs record it

    def requests(self) -> tuple[Request, ...]:
        """See ``Term.requests``."""
        return (self.request,)

    def denominator(self) -> Denominator:
        """See ``Term.denominator``."""
        return Denominator("tokens", self.request) if self.mean == "tokens" else Denominator("examples")

    def forward(self, states: States) -> TermValue:
        """See ``Term.forward``."""
        region = states.regions[self.request]
        read = (region.hidden, region.labels, states.head)
        if self.mean == "tokens" and not states.by_example:
            return TermValue(token_cross_entropy(*read, chunk=self.chunk))
        each = token_cross_entropies(*read, chunk=self.chunk)
        if self.mean == "examples":
            of = region.document  # ascending
            each = each / (torch.searchsorted(of, of, right=True) - torch.searchsorted(of, of))
        return TermValue(each.sum(), each=each.detach(), document=region.document)

    def extra_repr(self) -> str:
        """Show what is trained."""
        return self._trained + ("" if self.mean == "tokens" else f", mean={self.mean!r}")
