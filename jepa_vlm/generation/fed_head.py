"""Hold latent decoding to the objective: what it feeds must be what the loss compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jepa_vlm.generation.answering import Latents

if TYPE_CHECKING:
    from jepa_vlm.terms import Objective


def fed_head(objective: Objective, decoding: Latents) -> dict[str, Any] | None:
    """Return the head that a decoding must feed states through, as JSON values; None for the states themselves.

    At each latent step the decoding feeds head(h), where h is the state before. So the objective's views with the same
    START and END must have been fed that, or their targets, which head(h) was compared with.

    Raises:
        ValueError: If a view was fed something else, another state was compared, or the head cannot be saved.
    """
    from jepa_vlm.objectives.latent_reconstruction import LatentReconstruction
    from jepa_vlm.predictors.saved import describe_head
    from jepa_vlm.views import LatentConversation

    borders = (decoding.start, decoding.end)
    seen = [request.view for request in objective.requests() if isinstance(request.view, LatentConversation)]
    views = [view for view in seen if (view.start, view.end) == borders]
    terms = [term for _, term in objective.parts() if isinstance(term, LatentReconstruction)]
    own = [term for term in terms if term.view in views]
    if any(view.fed == "token" for view in views):
        raise ValueError(
            "Latent decoding feeds states, but slots of this objective were fed one token's embedding (fed='token'); "
            "train with fed='target' or fed='state', or leave decoding out."
        )
    if any(term.state == "at" for term in own):
        raise ValueError(
            "Latent decoding feeds the state before a slot, but the state at it is what is compared (state='at'); take "
            "state='before', or leave decoding out."
        )
    heads = [term.head for term in own if term.head is not None]
    if not heads:
        return None
    if len(terms) > 1:
        raise ValueError(f"Latent decoding feeds through one head, but {len(terms)} reconstructions were trained.")
    if any(view.fed == "state" for view in views):
        raise ValueError(
            "Slots that are fed states in training are fed them without a head, but latent decoding would feed what "
            f"{type(heads[0]).__name__} returns; leave the head out, or the views with fed='state'."
        )
    return describe_head(heads[0])
