"""A view encoder: a view, the state that stands for it, and the weights that encode it."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import torch
from torch import nn

from jepa_vlm.states import States
from jepa_vlm.terms import ExtraInputs
from jepa_vlm.typing import Latent, shape_checked
from jepa_vlm.views import READOUTS, Readout, Request, Slots, TargetPolicy, View, with_gradient

if TYPE_CHECKING:
    from jepa_vlm.engine import TextEncoder


@final
class ViewEncoder(nn.Module):
    """Encodes one view of each example as one latent, the decoder's state after its final norm (paper, section 3.2).

    Args:
        view: Which turns are encoded.
        readout: Which state is read: ``last_token`` (last content token of the view's last turn), ``last_pred`` (last
            [PRED] slot), ``turn_end`` (the end-of-turn token after them; what the released code reads), ``mean`` (over
            content tokens).
        policy: Which weights encode, and whether gradient flows; see ``stop_gradient`` and its neighbours.
        encoder: A text encoder that reads the view instead of the backbone (``views.Answer()`` alone), None for the
            backbone.

    Raises:
        ValueError: If the readout is unknown, or the encoder cannot read the view.
    """

    def __init__(
        self,
        view: View,
        *,
        readout: Readout = "last_token",
        policy: TargetPolicy | None = None,
        encoder: TextEncoder | None = None,
    ) -> None:
        super().__init__()
        if readout not in READOUTS:
            raise ValueError(f"readout must be one of {', '.join(READOUTS)}; got {readout!r}.")
        self.view, self.readout, self.policy = view, readout, policy or with_gradient()
        self.encoder = encoder
        if readout != "last_pred" or encoder is not None:
            self.request()
        if encoder is not None:
            self._check_encoder()

    def request(self, slots: Slots | None = None) -> Request:
        """Return what the backbone has to compute, given the slots that a predictor places.

        Raises:
            ValueError: If the view has no place for slots, or the readout needs slots and there are none.
        """
        return Request(self.view, self.readout, self.policy, slots)

    def requests(self) -> tuple[Request, ...]:
        """Return what the backbone has to compute of a view without slots: nothing for an encoder of its own."""
        return () if self.encoder is not None else (self.request(),)

    def extra_inputs(self) -> ExtraInputs | None:
        """Return what makes the tokens of its own encoder's texts; None if it has none."""
        return None if self.encoder is None else self.encoder.reader()

    def setup(self, dim: int, generator: torch.Generator) -> None:
        """Load the encoder, if it has one of its own."""
        if self.encoder is not None:
            self.encoder.setup(dim, generator)

    def width(self, dim: int) -> int:
        """Return the size of its latents, for a decoder of hidden size ``dim``, after ``setup``."""
        return dim if self.encoder is None else self.encoder.width

    @shape_checked
    def forward(self, states: States, slots: Slots | None = None, *, owner: str = "") -> Latent:
        """Return the latent of each example.

        Args:
            states: What the engine found, and what the collator made for an encoder of its own.
            slots: Learned inputs that a predictor places into the view.
            owner: Name of the term that it belongs to, under which its own encoder's texts are filed.
        """
        if self.encoder is None:
            return states.latents[self.request(slots)]
        latent: Latent = self.encoder(**states.extra[owner], readout=self.readout)
        return latent

    def extra_repr(self) -> str:
        """Show view, readout and policy."""
        return f"{self.view}, readout={self.readout!r}, policy={self.policy}"

    def _check_encoder(self) -> None:
        if not self.view.text_alone:
            raise ValueError(f"A text encoder reads text alone: give it views.Answer(), not {self.view!r}.")
        if self.readout not in ("last_token", "mean"):
            raise ValueError(f"A text encoder is read at 'last_token' or as the 'mean', got {self.readout!r}.")
        if not self.policy.gradient:
            raise ValueError(
                f"A text encoder of its own is trained: its policy must be with_gradient(), got {self.policy}. A small "
                "rate moves it slowly."
            )
