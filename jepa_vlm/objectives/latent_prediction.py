"""Predict one view's latent from another's."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from jepa_vlm.errors import BackboneError
from jepa_vlm.losses import LatentLoss, SmoothL1Loss
from jepa_vlm.predictors import Predictor
from jepa_vlm.states import States
from jepa_vlm.terms import Denominator, ExtraInputs, Term, TermValue
from jepa_vlm.view_encoder import ViewEncoder
from jepa_vlm.views import Request, Slots


@final
class LatentPrediction(Term):
    """L_pred = loss(predictor(context), target): from image and question, the embedding of the expert trajectory
    (paper, section 3.4).

    Divided by the number of examples.

    Args:
        context: What the prediction is made from.
        predictor: Makes it; its slots, if any, are placed into the context view.
        target: What is predicted. Its policy says with which weights, and whether gradient flows.
        loss: Distance; SmoothL1 with beta 1 (the paper's) if not given.
        target_head: Maps the target before the distance, as the predictor maps the context: a projection into a space
            of both (VL-JEPA). It learns whatever the target's policy. None takes the target as it is.
        loss_dropout: Share of the optimiser steps that leave the term out, and its views where no other term reads
            them; drawn anew for each step, the same for the whole step. The other steps keep the weight, as in
            LLM-JEPA's code; its paper (section 5.2) advises to raise the weight so that weight x (1 - share) stays.
            Validation always computes the term.

    Raises:
        ValueError: If ``loss_dropout`` is outside [0, 1), or the pieces do not fit: slots on a view without room for
            them or in the target's head, ``last_pred`` without slots or on the target, a context without gradient or
            with an encoder of its own, or the same latent on both sides.

    References:
        Pearl, https://arxiv.org/abs/2604.08065. The released code reads the end-of-turn token after the slots, keeps
        the image in the target view, measures with cosine and never trains the slots' inputs; see docs/method.md.
    """

    name = "latent_prediction"

    def __init__(
        self,
        *,
        context: ViewEncoder,
        predictor: Predictor,
        target: ViewEncoder,
        loss: LatentLoss | None = None,
        target_head: Predictor | None = None,
        loss_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        for label, part, kind in (
            ("context", context, ViewEncoder),
            ("predictor", predictor, Predictor),
            ("target", target, ViewEncoder),
            ("loss", loss or SmoothL1Loss(), LatentLoss),
            ("target_head", target_head or predictor, Predictor),
        ):
            if not isinstance(part, kind):
                raise ValueError(f"{label} must be a {kind.__name__}, got {type(part).__name__}.")
        if not 0 <= loss_dropout < 1:
            raise ValueError(f"loss_dropout is a share of the steps in [0, 1), got {loss_dropout}.")
        self.loss_dropout = loss_dropout
        if not context.policy.gradient:
            raise ValueError(
                f"The context must be encoded with gradient, or nothing learns; got policy {context.policy}."
            )
        if context.encoder is not None:
            raise ValueError("The context is what the backbone sees; only the target may have an encoder of its own.")
        if target_head is not None and target_head.slots:
            raise ValueError(
                f"The target has no place for the {target_head.slots} slots of its head; use MLPPredictor."
            )
        if target_head is predictor:
            raise ValueError("predictor and target_head are one object; give each side a head of its own.")
        if target.readout == "last_pred":
            raise ValueError("The target has no [PRED] slots; read it at 'last_token', 'turn_end' or 'mean'.")
        self.context, self.predictor, self.target, self.loss = context, predictor, target, loss or SmoothL1Loss()
        self.target_head, self.by_direction = target_head, not self.loss.sees_length
        asked = context.request(self._slots), target.request()
        if predictor.slots and context.readout not in ("last_pred", "turn_end"):
            raise ValueError(
                f"The predictor's {predictor.slots} slots must come before the state that is read: read the context at "
                f"'last_pred' or 'turn_end', not {context.readout!r}."
            )
        same = asked[0].view == asked[1].view and asked[0].at == asked[1].at and self._slots is None
        if same and target.policy.is_current:
            raise ValueError(
                f"Context and target are the same latent ({context.view}, {context.readout}); nothing is predicted."
            )

    @property
    def _slots(self) -> Slots | None:
        return Slots(self.name, self.predictor.slots) if self.predictor.slots else None

    def requests(self) -> tuple[Request, ...]:
        """See ``Term.requests``."""
        return self.context.request(self._slots), *self.target.requests()

    def denominator(self) -> Denominator:
        """See ``Term.denominator``."""
        return Denominator("examples")

    @property
    def compares_examples(self) -> bool:
        """See ``Term.compares_examples``: as its loss does."""
        return self.loss.across_batch

    def setup(self, dim: int, generator: torch.Generator) -> None:
        """See ``Term.setup``.

        Raises:
            BackboneError: If prediction and target come out in different sizes.
        """
        self.predictor.setup(dim, generator)
        self.target.setup(dim, generator)
        predicted, width = self.predictor.width(dim), self.target.width(dim)
        if self.target_head is not None:
            self.target_head.setup(width, generator)
            width = self.target_head.width(width)
        if predicted != width:
            raise BackboneError(
                f"Prediction and target must have one size, but the prediction has {predicted} components and the "
                f"target {width}; map both with MLPPredictor(out=...), as predictor and as target_head."
            )

    def extra_inputs(self) -> ExtraInputs | None:
        """See ``Term.extra_inputs``: tokens for a text encoder of the target's own."""
        return self.target.extra_inputs()

    def slot_inputs(self) -> Tensor | None:
        """See ``Term.slot_inputs``."""
        return self.predictor.slot_inputs()

    def extra_repr(self) -> str:
        """Show the loss dropout, if there is one."""
        return f"loss_dropout={self.loss_dropout:g}" if self.loss_dropout else ""

    def forward(self, states: States) -> TermValue:
        """See ``Term.forward``."""
        predicted = self.predictor(self.context(states, self._slots))
        target = self.target(states, owner=self.name)
        if not self.target.policy.gradient:
            target = target.detach()
        if self.target_head is not None:
            target = self.target_head(target)
        each = self.loss(predicted, target)
        return TermValue(each.sum(), predicted=predicted.detach(), target=target.detach(), each=each.detach())
