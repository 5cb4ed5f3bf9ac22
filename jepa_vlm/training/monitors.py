"""Is the latent space alive? A collapsed one has a low prediction loss too, so the loss alone does not tell.

Healthy: effective rank far above 1, no dimension without spread, and what ``within_kinds`` says of a prediction.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from jepa_vlm.typing import Latent, shape_checked


@shape_checked
def matched_cosine(predicted: Latent, target: Latent) -> float:
    """Return the mean cosine of each prediction with its own target."""
    return F.cosine_similarity(predicted.double(), target.double(), dim=-1).mean().item()


@shape_checked
def shuffled_cosine(predicted: Latent, target: Latent) -> float:
    """Return the mean cosine of each prediction with the targets of the other examples.

    Raises:
        ValueError: If there are fewer than two examples.
    """
    n = len(predicted)
    if n < 2:
        raise ValueError(f"Other examples' targets need at least two examples, got {n}.")
    one, other = F.normalize(predicted.double(), dim=-1), F.normalize(target.double(), dim=-1)
    every = one.sum(0) @ other.sum(0)
    return ((every - (one * other).sum()) / (n * (n - 1))).item()


@shape_checked
def mean_pairwise_cosine(latents: Latent) -> float:
    """Return the mean cosine between two different examples' latents: 1 if all point one way.

    Raises:
        ValueError: If there are fewer than two examples.
    """
    return shuffled_cosine(latents, latents)


@shape_checked
def spectrum(latents: Latent, *, centred: bool = True) -> Tensor:
    """Return the singular values of the latents, descending, in float64; those at the level of rounding are 0.

    Args:
        latents: One row for each example.
        centred: Whether their mean is taken off first, so that what they have in common does not count.
    """
    wide = latents.double()
    if not wide.isfinite().all():
        return wide.new_full((min(wide.shape),), float("nan"))
    values = torch.linalg.svdvals(wide - wide.mean(0) if centred else wide)
    rounding = torch.finfo(wide.dtype).eps * max(wide.shape) * wide.norm()
    return torch.where(values > rounding, values, 0.0)


@shape_checked
def effective_rank(latents: Latent, *, centred: bool = True) -> float:
    """Return the exponential of the entropy of the singular values, normalised to sum 1.

    Between 1 (all on one line, or all equal) and the lesser of ``dim`` and the number of examples, less one if
    centred. It is nan if a latent is not finite.

    Args:
        latents: One row for each example.
        centred: False is RankMe, which leaves the mean in: a common offset then pulls it towards 1.

    References:
        Roy and Vetterli, 2007, The effective rank. RankMe, https://arxiv.org/abs/2210.02885, adds 1e-7 to each share so
        that its logarithm exists; here shares of 0 are left out instead.
    """
    values = spectrum(latents, centred=centred)
    if not values.isfinite().all():
        return float("nan")
    if not values.any():
        return 1.0
    shares = values[values > 0] / values.sum()
    return torch.exp(-(shares * shares.log()).sum()).item()


@shape_checked
def dimension_std(latents: Latent) -> Tensor:
    """Return the standard deviation of each dimension over the examples (population form), in float64."""
    return latents.double().std(dim=0, correction=0)


@shape_checked
def latent_figures(predicted: Latent, target: Latent) -> dict[str, float]:
    """Return every figure by its name; nothing of fewer than two examples.

    The cosines hold examples of all kinds against each other: their gap says which kind an example is of, and little
    more. ``within_kinds`` holds those of one kind against each other.
    """
    if len(predicted) < 2:
        return {}
    found = {
        "matched_cosine": matched_cosine(predicted, target),
        "shuffled_cosine": shuffled_cosine(predicted, target),
    }
    for side, latents in (("predicted", predicted), ("target", target)):
        std = dimension_std(latents)
        found[f"{side}_effective_rank"] = effective_rank(latents)
        found[f"{side}_std_mean"] = std.mean().item()
        found[f"{side}_std_min"] = std.min().item()
    return found
