"""The predictor without computation."""

from __future__ import annotations

from typing import final

from jepa_vlm.predictors.predictor import Predictor
from jepa_vlm.typing import Latent, shape_checked


@final
class IdentityPredictor(Predictor):
    """Uses the context's own state as the prediction: Pearl with K = 0, LVR and Mirage without a head."""

    @shape_checked
    def forward(self, context: Latent) -> Latent:
        """Return ``context``."""
        return context
