"""Reconstruct what latent slots stand for."""

from __future__ import annotations

from typing import Literal, final

from torch import Generator

from jepa_vlm.losses import LatentLoss, MSELoss
from jepa_vlm.predictors import IdentityPredictor, Predictor
from jepa_vlm.states import States
from jepa_vlm.terms import Denominator, Objective, Term, TermValue, zero_through
from jepa_vlm.views import Request, View


@final
class LatentReconstruction(Term):
    """L_latent = loss(head(state), what the slot stands for), over all latent slots of a view.

    Divided by the number of slots, so that a large region counts for more than a small one, as in LVR's code.
    The targets are frozen: no gradient flows into them.

    Args:
        view: Whose slots.
        predictor: The head between a state and its prediction; none (the identity) if not given. It places no slots.
            ``Latents`` feeds what it returns when the model answers.
        loss: Distance; the mean squared one (LVR's) if not given. Mirage takes the cosine.
        state: Which state predicts a slot: the one ``before`` it (LVR, Mirage: what is predicted is what is fed next),
            or the one ``at`` it.

    Raises:
        ValueError: If the pieces do not fit: slots without targets, slots whose own target would be read at them, or
            a loss across the batch.

    References:
        LVR, https://arxiv.org/abs/2509.24251 (VincentLeebang/lvr@637a9f7, monkey_patch_forward_lvr.py). Mirage,
        https://arxiv.org/abs/2506.17218 (UMass-Embodied-AGI/Mirage@53f26de).
    """

    name = "latent_reconstruction"

    def __init__(
        self,
        *,
        view: View,
        predictor: Predictor | None = None,
        loss: LatentLoss | None = None,
        state: Literal["before", "at"] = "before",
    ) -> None:
        super().__init__()
        if not view.has_targets:
            raise ValueError(f"{view} has nothing to reconstruct; train it by NextToken(view=...) alone.")
        if state not in ("before", "at"):
            raise ValueError(f"state must be 'before' or 'at', got {state!r}.")
        if state == "at" and view.feeds_targets:
            raise ValueError("A slot that is fed its target must not predict it from there; read the state 'before'.")
        self.view, self.state = view, state
        self.request = Request(view, "before_latents" if state == "before" else "latents")
        self.predictor, self.loss = predictor or IdentityPredictor(), loss or MSELoss()
        self.by_direction = not self.loss.sees_length
        if self.predictor.slots:
            raise ValueError(f"The view has its slots already; {type(self.predictor).__name__} would place more.")
        if self.loss.across_batch:
            raise ValueError(f"{type(self.loss).__name__} compares the examples of a batch; slots are no examples.")

    def requests(self) -> tuple[Request, ...]:
        """See ``Term.requests``."""
        return (self.request,)

    def denominator(self) -> Denominator:
        """See ``Term.denominator``."""
        return Denominator("tokens", self.request)

    @property
    def head(self) -> Predictor | None:
        """What a state passes through before it is compared; None where the state itself is."""
        return None if isinstance(self.predictor, IdentityPredictor) else self.predictor

    def setup(self, dim: int, generator: Generator) -> None:
        """See ``Term.setup``.

        Raises:
            ValueError: If the head's output is no feature's size.
        """
        if (width := self.predictor.width(dim)) != dim:
            raise ValueError(f"Slots stand for features of size {dim}; {self.predictor} predicts {width}.")
        self.predictor.setup(dim, generator)

    def forward(self, states: States) -> TermValue:
        """See ``Term.forward``."""
        region = states.regions[self.request]
        if region.targets is None:
            raise ValueError("The engine handed over no targets of the slots.")
        predicted = self.predictor(region.hidden)
        each = self.loss(predicted, region.targets)
        return TermValue(
            each.sum() + zero_through(self),
            predicted=predicted.detach(),
            target=region.targets,
            each=each.detach(),
            document=region.document,
        )

    def extra_repr(self) -> str:
        """Show the view and which state is read."""
        return f"{self.view}, state={self.state!r}"


def feeding_head(objective: Objective) -> Predictor | None:
    """Return the head of an objective's reconstruction, whose output latent decoding feeds; None if there is none."""
    heads = (term.head for _, term in objective.parts() if isinstance(term, LatentReconstruction))
    return next((head for head in heads if head is not None), None)
