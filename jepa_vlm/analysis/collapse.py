"""Has the latent space collapsed? What training monitors watch, in full: spectrum and spread of both sides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, final

from jepa_vlm.analysis.embeddings import Embeddings
from jepa_vlm.training.monitors import dimension_std, effective_rank, mean_pairwise_cosine, spectrum
from jepa_vlm.typing import Latent, shape_checked


@final
@dataclass(frozen=True)
class LatentSpread:
    """How the latents of a set are spread, in float64.

    Args:
        spectrum: Singular values of the centred latents, descending.
        dimension_std: Standard deviation of each dimension over the examples.
        effective_rank: exp of the entropy of the spectrum's shares; 1 is a line.
        rank_me: The same without centring, as RankMe has it.
        mean_pairwise_cosine: Between two different examples; 1 is one direction.
    """

    spectrum: tuple[float, ...]
    dimension_std: tuple[float, ...]
    effective_rank: float
    rank_me: float
    mean_pairwise_cosine: float

    def summary(self) -> dict[str, Any]:
        """Return the single figures."""
        std = self.dimension_std
        return {
            "effective_rank": self.effective_rank,
            "rank_me": self.rank_me,
            "mean_pairwise_cosine": self.mean_pairwise_cosine,
            "std_mean": sum(std) / len(std),
            "std_min": min(std),
            "std_max": max(std),
        }


@final
@dataclass(frozen=True)
class Collapse:
    """The panel of one model.

    Args:
        name, readout: Of the embeddings.
        examples, dim: Their number and length; no rank is above the lesser.
        predicted, target: The two sides.
    """

    name: str
    readout: str
    examples: int
    dim: int
    predicted: LatentSpread
    target: LatentSpread

    @property
    def sides(self) -> Mapping[str, LatentSpread]:
        """Both sides by name."""
        return {"predicted": self.predicted, "target": self.target}

    def summary(self) -> dict[str, Any]:
        """Return every figure as JSON values."""
        held = asdict(self)
        return {
            **{name: held[name] for name in ("name", "readout", "examples", "dim")},
            **{name: side.summary() for name, side in self.sides.items()},
        }

    def table(self) -> list[dict[str, Any]]:
        """Return spectrum and spread, a row for each value."""
        return [
            {"name": self.name, "side": name, "figure": figure, "index": index, "value": value}
            for name, side in self.sides.items()
            for figure, values in (("spectrum", side.spectrum), ("dimension_std", side.dimension_std))
            for index, value in enumerate(values)
        ]


@shape_checked
def latent_spread(latents: Latent) -> LatentSpread:
    """Return how latents are spread.

    Args:
        latents: One row for each example, at least two.

    Raises:
        ValueError: If there are fewer than two.
    """
    return LatentSpread(
        spectrum=tuple(spectrum(latents).tolist()),
        dimension_std=tuple(dimension_std(latents).tolist()),
        effective_rank=effective_rank(latents),
        rank_me=effective_rank(latents, centred=False),
        mean_pairwise_cosine=mean_pairwise_cosine(latents),
    )


def collapse(embeddings: Embeddings) -> Collapse:
    """Return the panel of a set's embeddings."""
    examples, dim = embeddings.predicted.shape
    return Collapse(
        embeddings.name,
        embeddings.readout,
        examples,
        dim,
        latent_spread(embeddings.predicted),
        latent_spread(embeddings.target),
    )
