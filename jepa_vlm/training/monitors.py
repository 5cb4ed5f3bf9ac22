"""Is the latent space alive? A collapsed one has a low prediction loss too, so the loss alone does not tell.

Healthy: effective rank far above 1, no dimension without spread, and what ``within_kinds`` says of a prediction.
Trajectories of different kinds (another task, more tool calls) have targets that lie far apart, so that a prediction
which is the same for all examples of a kind is much closer to its own target than to the others', and says nothing. So
``within_kinds`` compares each example with others of the same kind alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import isfinite

import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor

from jepa_vlm.playground.tasks import TASKS
from jepa_vlm.playground.vocabulary import question_form
from jepa_vlm.trajectories import Trajectory
from jepa_vlm.typing import Latent, PerExample, shape_checked


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


Among = Bool[Tensor, "batch batch"]
TIE = 1e-6  # cosines of float32 states nearer than this are equal: one trajectory twice must not win by rounding
LITTLE = 0.01  # a smaller share of the variance is called none
STILL = 0.1  # share of the targets' spread; predictions that are spread less are called the same
COLLAPSED = 0.5  # share of the targets' spread at the start


def kind_of(trajectory: Trajectory) -> str:
    """Return the kind of a trajectory: its task and how many tools it calls; on the playground also what is asked."""
    form = [question_form(trajectory.question)] if trajectory.task in TASKS else []
    calls = f"{trajectory.calls} call{'' if trajectory.calls == 1 else 's'}"
    return ", ".join([trajectory.task, *form, calls])


def partners(kinds: Sequence[str]) -> list[int | None]:
    """Return for each example the next one of its kind, of the last one the first; None for one that is alone."""
    places: dict[str, list[int]] = {}
    for place, kind in enumerate(kinds):
        places.setdefault(kind, []).append(place)
    after = {a: b for own in places.values() for a, b in zip(own, own[1:] + own[:1], strict=True) if a != b}
    return [after.get(place) for place in range(len(kinds))]


def same_kind(kinds: Sequence[str]) -> Among:
    """Return which examples are of one kind."""
    numbers = {kind: number for number, kind in enumerate(dict.fromkeys(kinds))}
    own = torch.tensor([numbers[kind] for kind in kinds])
    return own[:, None] == own[None, :]


@shape_checked
def shuffled_rows(cosines: Latent, among: Among) -> PerExample:
    """Return each prediction's mean cosine with other examples' targets; nan where it is held against none.

    Args:
        cosines: Cosine of prediction i with target j.
        among: Whether i is held against j.
    """
    others = among & ~torch.eye(len(cosines), dtype=torch.bool)
    return (cosines * others).sum(1) / others.sum(1)


@shape_checked
def recall_rows(cosines: Latent, among: Among, k: int) -> PerExample:
    """Return how likely each prediction's own target is among its k nearest, if equals come in random order.

    Args:
        cosines: Cosine of prediction i with target j.
        among: Whether i is held against j.
        k: Number of nearest targets.
    """
    own = cosines.diagonal()[:, None]
    better = ((cosines > own + TIE) & among).sum(1)
    equal = (((cosines - own).abs() <= TIE) & among).sum(1)
    return ((k - better) / equal).clamp(0, 1).double()


@shape_checked
def centred(latents: Latent, among: Among) -> Latent:
    """Return the latents, in float64, less the mean of those that each is held against, its own included."""
    weights = among.double()
    return latents.double() - weights @ latents.double() / weights.sum(1, keepdim=True)


@shape_checked
def explained_rows(predicted: Latent, target: Latent, among: Among) -> PerExample:
    """Return (|t - mean of its kind|^2 - |p - t|^2) / v of each example that is not alone, nan for one that is.

    v is the mean of |t - mean of its kind|^2 over the examples that are not alone, so that the mean of the rows is the
    share of the targets' variance within kinds that the predictions explain, R2 = 1 - sum |p - t|^2 / sum |t - mean|^2.
    R2 is 1 for the targets themselves, 0 for the mean of each kind, and less for any other constant. All rows are nan
    if no targets of a kind differ.
    """
    compared = among.sum(1) > 1
    own = centred(target, among).square().sum(1)
    variance = own[compared].mean()
    errors = (predicted.double() - target.double()).square().sum(1)
    # Targets that differ by the rounding of float32 states are equal.
    differ = compared & (variance > TIE**2 * target.double().square().sum(1).mean())
    return torch.where(differ, (own - errors) / variance, torch.nan)


def within_kinds(
    predicted: Latent, target: Latent, kinds: Sequence[str], *, by_direction: bool = False
) -> dict[str, float]:
    """Return what examples of one kind, held against each other, show; examples that are alone in theirs say nothing.

    ``kinds``, ``compared`` and ``alone`` count the kinds of two examples and more, their examples, and the others. If
    there are no two examples of a kind, nothing else is returned. ``matched_cosine_within_kind`` and
    ``shuffled_cosine_within_kind``: with the own and with the others' targets. ``recall_at_1_within_kind``: how often
    the own target is the nearest by cosine; ``chance_at_1_within_kind``: as often as by guessing.
    ``explained_within_kind``: see ``explained_rows``; left out where no targets differ.
    ``explained_centred_within_kind``: the same of predictions and targets less the mean of their kind; it is 0 for any
    constant, and what a prediction knows of an example shows there though it misses the kinds' means.
    ``*_norm_within_kind``: root mean square distance from the mean of the kind.

    Args:
        predicted, target: One row for each example.
        kinds: Kind of each example.
        by_direction: Bring latents to length 1 first: for losses that do not see lengths.
    """
    counts = Counter(kinds)
    found = {
        "kinds": float(sum(count > 1 for count in counts.values())),
        "compared": float(sum(count for count in counts.values() if count > 1)),
        "alone": float(sum(count == 1 for count in counts.values())),
    }
    if not found["kinds"]:
        return found
    kept = [place for place, kind in enumerate(kinds) if counts[kind] > 1]
    among = same_kind([kinds[place] for place in kept])
    predicted, target = predicted[kept].double(), target[kept].double()
    one, other = F.normalize(predicted, dim=-1), F.normalize(target, dim=-1)
    cosines = one @ other.T
    rows = {
        "matched_cosine_within_kind": cosines.diagonal(),
        "shuffled_cosine_within_kind": shuffled_rows(cosines, among),
        "recall_at_1_within_kind": recall_rows(cosines, among, 1),
        "chance_at_1_within_kind": 1 / among.sum(1).double(),
    }
    if by_direction:
        predicted, target = one, other
    rows["explained_within_kind"] = explained_rows(predicted, target, among)
    rows["explained_centred_within_kind"] = explained_rows(centred(predicted, among), centred(target, among), among)
    found |= {name: own.mean().item() for name, own in rows.items() if not own.isnan().all()}
    for side, latents in (("predicted", predicted), ("target", target)):
        found[f"{side}_norm_within_kind"] = centred(latents, among).square().sum(1).mean().sqrt().item()
    return found


def in_words(first: Mapping[str, float], now: Mapping[str, float]) -> str:
    """Say what the figures of ``within_kinds`` show, of a model as it is now and as it was at the start; "" of none."""
    if "kinds" not in now:
        return ""
    if not now["kinds"]:
        return "No two held-out examples are of one kind: nothing is known of what the prediction tells of an example."
    target, spread = now["target_norm_within_kind"], now["predicted_norm_within_kind"]
    share = now.get("explained_within_kind")
    if not isfinite(target + spread):
        return "Predictions or targets are not finite: the model has diverged."
    if share is None:
        said = "The targets of a kind are all the same: there is nothing of an example to predict."
    elif share >= LITTLE:
        said = f"The prediction explains {share:.0%} of what differs between examples of a kind."
    elif now["explained_centred_within_kind"] >= LITTLE:
        said = (
            f"The prediction explains {now['explained_centred_within_kind']:.0%} of what differs between examples of a "
            "kind if the means of the kinds are taken off, which it misses by more than that."
        )
    elif spread < STILL * target:
        said = "The prediction is the same for all examples of a kind: it tells kinds apart, not examples."
    else:
        said = (
            "The prediction differs between examples of a kind, but explains nothing of what differs in their targets."
        )
    before = first.get("target_norm_within_kind", 0.0)
    if target < COLLAPSED * before:
        said += (
            f" The targets of a kind have moved together, from a spread of {before:.3g} to {target:.3g}: the target "
            "collapses, and a falling loss shows that too."
        )
    return said
