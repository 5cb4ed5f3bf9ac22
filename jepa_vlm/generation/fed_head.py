"""Check latent feedback against the objective: what it feeds must be what the loss compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jepa_vlm.generation.answering import Latents

if TYPE_CHECKING:
    from jepa_vlm.terms import Objective


def fed_head(objective: Objective, answering: Latents) -> dict[str, Any] | None:
    """Return the head that latent feedback must feed states through, as JSON values; None for the states themselves.

    At each latent step head(h) is fed, where h is the state before. So the objective's views with the same START and
    END must have been fed that, or their targets, which head(h) was compared with.

    Raises:
        ValueError: If a view was fed something else, another state was compared, or the head cannot be saved.
    """
    from jepa_vlm.objectives.latent_reconstruction import LatentReconstruction
    from jepa_vlm.predictors.saved import describe_head

    seen = [request.view for request in objective.requests()]
    views = [view for view in seen if view.latent_marks == (answering.start, answering.end)]
    terms = [term for _, term in objective.parts() if isinstance(term, LatentReconstruction)]
    own = [term for term in terms if term.view in views]
    if not all(view.feeds_targets or view.sequential for view in views):
        raise ValueError(
            "Latents feeds states back, but latent tokens were fed one token's embedding in training (fed='token'); "
            "train with fed='target' or fed='state', or leave answering=jv.Latents() out."
        )
    if any(term.state == "at" for term in own):
        raise ValueError(
            "Latents feeds back the state before a latent token, but the state at it is compared (state='at'); take "
            "state='before', or leave answering=jv.Latents() out."
        )
    heads = [term.head for term in own if term.head is not None]
    if not heads:
        return None
    if len(terms) > 1:
        raise ValueError(f"Latents feeds states through one head, but {len(terms)} reconstructions were trained.")
    if any(view.sequential for view in views):
        raise ValueError(
            "Latent tokens that are fed states in training are fed them without a head, but Latents would feed what "
            f"{type(heads[0]).__name__} returns; leave the head out, or the views with fed='state'."
        )
    return describe_head(heads[0])
