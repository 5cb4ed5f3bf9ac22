"""A view encoder: a view, the state that stands for it, and the weights that encode it."""

from __future__ import annotations

from typing import final

from torch import nn

from jepa_vlm.encoders.states import States
from jepa_vlm.typing import Latent, shape_checked
from jepa_vlm.views import Readout, Slots, TargetPolicy, View, ViewRequest, with_gradient


@final
class ViewEncoder(nn.Module):
    """Encodes one view of each example as one latent, the decoder's state after its final norm (paper, section 3.2).

    Args:
        view: Which turns are encoded.
        readout: Which state is read: ``last_token`` (last content token of the view's last turn), ``last_pred`` (last
            [PRED] slot), ``turn_end`` (the end-of-turn token after them; what the released code reads), ``mean`` (over
            content tokens).
        policy: Which weights encode, and whether gradient flows; see ``stop_gradient`` and its neighbours.

    Raises:
        ValueError: If the readout is unknown.
    """

    def __init__(self, view: View, *, readout: Readout = "last_token", policy: TargetPolicy | None = None) -> None:
        super().__init__()
        self.view, self.readout, self.policy = view, readout, policy or with_gradient()
        if readout != "last_pred":
            ViewRequest(view=view, readout=readout)

    def request(self, slots: Slots | None = None) -> ViewRequest:
        """Return what has to be computed, given the slots that a predictor places.

        Raises:
            ValueError: If the view has no place for slots, or the readout needs slots and there are none.
        """
        return ViewRequest(view=self.view, policy=self.policy, readout=self.readout, slots=slots)

    @shape_checked
    def forward(self, states: States, slots: Slots | None = None) -> Latent:
        """Return the latent of each example."""
        return states.latents[self.request(slots)]

    def extra_repr(self) -> str:
        """Show view, readout and policy."""
        return f"{self.view}, readout={self.readout!r}, policy={self.policy}"
