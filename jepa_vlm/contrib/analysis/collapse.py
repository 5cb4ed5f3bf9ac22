"""Shows whether the latent space has collapsed: the training monitors' figures in full, for both sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, final

from jepa_vlm.contrib.analysis.embeddings import Embeddings
from jepa_vlm.report.figures import CATEGORIES, drawing, short, svg_of
from jepa_vlm.training.monitors import dimension_std, effective_rank, mean_pairwise_cosine, spectrum
from jepa_vlm.typing import Latent, shape_checked


@final
@dataclass(frozen=True)
class LatentSpread:
    """Spectrum and spread of the latents of a set, in float64.

    Args:
        spectrum: Singular values of the centred latents, descending.
        dimension_std: Standard deviation of each dimension over the examples.
        effective_rank: exp of the entropy of the spectrum's shares; 1 is a line.
        rank_me: The same without centring (RankMe).
        mean_pairwise_cosine: Mean cosine of two different examples; 1 is one direction.
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
    """The spread of one model's embeddings.

    Args:
        name: Name of the model.
        readout: Description of the readout.
        examples: Number of examples.
        dim: Length of an embedding; no rank exceeds the smaller of the two.
        predicted: Spread of the predicted embeddings.
        target: Spread of the targets.
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
    """Return the spread of latents.

    Args:
        latents: One row for each example, at least two rows.

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
    """Return the spread of both sides of a set."""
    examples, dim = embeddings.predicted.shape
    return Collapse(
        embeddings.name,
        embeddings.readout,
        examples,
        dim,
        latent_spread(embeddings.predicted),
        latent_spread(embeddings.target),
    )


LOOKS = {"predicted": (CATEGORIES[5], "--"), "target": (CATEGORIES[0], "-")}
FLOOR = 1e-8  # least value that is drawn, relative to the largest; smaller ones are rounding errors
ROWS = (
    ("effective rank", "effective_rank", ".1f"),
    ("RankMe", "rank_me", ".1f"),
    ("mean cosine", "mean_pairwise_cosine", "+.3f"),
    ("mean std", "std_mean", ".3g"),
    ("least std", "std_min", ".3g"),
)


def collapse_figure(found: Sequence[Collapse]) -> str:
    """Return the figure as SVG, with a row of panels for each model.

    Args:
        found: The spread of each model, at least one.

    Raises:
        JepaVLMError: If matplotlib is not installed.
    """
    with drawing(10.4, 0.2 + 2.8 * len(found), "collapse", pad=0.1) as figure:
        grid = figure.subplots(len(found), 3, squeeze=False, sharey="col", width_ratios=(1, 1, 0.8))
        for (left, middle, right), one in zip(grid, found, strict=True):
            for name, side in one.sides.items():
                colour, line = LOOKS[name]
                look = {"color": colour, "linestyle": line, "label": name, "linewidth": 1.6}
                top = side.spectrum[0] or 1.0
                left.plot(range(1, len(side.spectrum) + 1), [max(v / top, FLOOR) for v in side.spectrum], **look)
                spread = sorted(side.dimension_std, reverse=True)
                middle.plot(range(1, len(spread) + 1), spread, **look)
            left.set_yscale("log")
            left.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            left.minorticks_off()
            left.set_title(f"{short(one.name)}: spectrum")
            left.set_xlabel("singular value")
            left.set_ylabel("relative to the largest")
            middle.set_title("standard deviation over examples")
            middle.set_xlabel("dimension, sorted")
            middle.legend(loc="best")
            for axes in (left, middle):
                axes.margins(x=0.03)
                axes.xaxis.get_major_locator().set_params(integer=True)
            _table(right, one)
        grid[0, 1].set_ylim(bottom=0)
        return svg_of(figure)


def _table(axes: Any, one: Collapse) -> None:
    """Write the single figures."""
    axes.set_axis_off()
    axes.set_title(f"{one.examples} examples of {one.dim} dimensions")
    places = {"predicted": 0.68, "target": 1.0}
    for name, side in one.sides.items():
        axes.text(places[name], 0.92, name, ha="right", color=LOOKS[name][0], transform=axes.transAxes)
        for row, (_, key, form) in enumerate(ROWS):
            axes.text(
                places[name], 0.78 - 0.14 * row, format(side.summary()[key], form), ha="right", transform=axes.transAxes
            )
    for row, (title, _, _) in enumerate(ROWS):
        axes.text(0.0, 0.78 - 0.14 * row, title, transform=axes.transAxes)
