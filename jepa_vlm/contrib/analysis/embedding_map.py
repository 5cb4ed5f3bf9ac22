"""t-SNE of both views' embeddings by task (Figure 4 of the paper). It is a picture; ``agreement`` has the numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from jepa_vlm.contrib.analysis.agreement import Agreement
from jepa_vlm.contrib.analysis.embeddings import Embeddings
from jepa_vlm.errors import missing_extra
from jepa_vlm.report.figures import CATEGORIES, GREY, drawing, short, svg_of

PERPLEXITY = 30.0


@final
@dataclass(frozen=True)
class EmbeddingMap:
    """Places of both views of each example in the plane.

    Args:
        name: Name of the model.
        readout: Description of the readout.
        ids: Id of each example.
        tasks: Task of each example.
        predicted: Places of the predicted embeddings, ("examples 2").
        target: Places of the targets, ("examples 2").
        perplexity: Perplexity of t-SNE.
        seed: Random seed of t-SNE.
        divergence: Final KL divergence of t-SNE; a smaller one preserves the neighbourhoods better.
    """

    name: str
    readout: str
    ids: tuple[str, ...]
    tasks: tuple[str, ...]
    predicted: NDArray[np.float64]
    target: NDArray[np.float64]
    perplexity: float
    seed: int
    divergence: float

    def table(self) -> list[dict[str, Any]]:
        """Return a row for each view of each example."""
        return [
            {"name": self.name, "id": self.ids[i], "task": self.tasks[i], "view": view, "x": float(x), "y": float(y)}
            for view, places in (("predicted", self.predicted), ("target", self.target))
            for i, (x, y) in enumerate(places)
        ]


def embedding_map(embeddings: Embeddings, *, perplexity: float | None = None, seed: int = 0) -> EmbeddingMap:
    """Place both views in one plane by t-SNE.

    Embeddings are normalised first, so that neighbours are those by cosine, as in retrieval.

    Args:
        embeddings: Embeddings of at least two examples.
        perplexity: Approximate number of neighbours of a point; None takes 30, or a third of the points if fewer.
        seed: Random seed of t-SNE.

    Raises:
        ValueError: If the perplexity does not lie between 1 and the number of points.
        JepaVLMError: If scikit-learn is not installed.
    """
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        raise missing_extra("scikit-learn", "analysis", "An embedding map") from None
    points = F.normalize(torch.cat([embeddings.predicted, embeddings.target]).double()).numpy()
    chosen = min(PERPLEXITY, max(1.0, (len(points) - 1) / 3)) if perplexity is None else perplexity
    if not 1 <= chosen < len(points):
        raise ValueError(f"perplexity must be at least 1 and less than the {len(points)} points, got {chosen}.")
    fitted = TSNE(perplexity=chosen, init="pca", random_state=seed)
    places = fitted.fit_transform(points).astype(np.float64)
    predicted, target = np.split(places, 2)
    return EmbeddingMap(
        embeddings.name,
        embeddings.readout,
        embeddings.ids,
        embeddings.tasks,
        predicted,
        target,
        chosen,
        seed,
        float(fitted.kl_divergence_),
    )


SHAPES = "osD^v"  # the next shape is used when all colours are taken


def embedding_figure(maps: Sequence[EmbeddingMap], numbers: Sequence[Agreement]) -> str:
    """Return the figure as SVG: trajectories are filled marks, predictions crosses, joined by a line per example.

    Args:
        maps: The map of each model, at least one.
        numbers: The agreement of the same models.

    Raises:
        JepaVLMError: If matplotlib is not installed.
    """
    tasks = sorted({task for one in maps for task in one.tasks})
    columns = min(len(maps), 3)
    rows = math.ceil(len(maps) / columns)
    with drawing(1.9 + 4.2 * columns, 0.3 + 4.5 * rows, "embeddings", pad=0.1) as figure:
        grid = figure.subplots(rows, columns, squeeze=False)
        for place, axes in enumerate(grid.flat):
            if place >= len(maps):
                axes.set_axis_off()
                continue
            _draw(axes, maps[place], tasks)
            axes.set_title(short(maps[place].name), pad=20, fontweight="bold")
            axes.annotate(
                _said(numbers[place]), (0, 1), xycoords="axes fraction", xytext=(0, 6), textcoords="offset points"
            )
        handles = [_mark(grid[0, 0], task, *_look(number)) for number, task in enumerate(tasks)]
        handles += [
            _mark(grid[0, 0], "its trajectory", GREY, "o"),
            _mark(grid[0, 0], "predicted from the question", GREY, "x"),
        ]
        figure.legend(handles=handles, loc="outside right upper")
        return svg_of(figure)


def _draw(axes: Any, one: EmbeddingMap, tasks: Sequence[str]) -> None:
    joined = np.stack([one.predicted, one.target, np.full_like(one.target, np.nan)], 1).reshape(-1, 2)
    axes.plot(*joined.T, color=GREY, linewidth=0.5, alpha=0.3, zorder=1)
    for number, task in enumerate(tasks):
        own = np.array([name == task for name in one.tasks])
        colour, shape = _look(number)
        axes.scatter(*one.target[own].T, color=colour, marker=shape, s=26, linewidths=0.5, edgecolors="white", zorder=2)
        axes.scatter(*one.predicted[own].T, color=colour, marker="x", s=22, linewidths=1.1, zorder=3)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[["top", "right"]].set_visible(True)
    axes.margins(0.05)


def _look(number: int) -> tuple[str, str]:
    return CATEGORIES[number % len(CATEGORIES)], SHAPES[number // len(CATEGORIES) % len(SHAPES)]


def _mark(axes: Any, label: str, colour: str, shape: str) -> Any:
    return axes.plot([], [], label=short(label or "no task"), color=colour, marker=shape, linestyle="", markersize=6)[0]


def _said(one: Agreement) -> str:
    """Return the figures within kinds, which the picture does not show."""
    explained, recall = one.estimate("explained_within_kind"), one.estimate("recall_at_1_within_kind")
    chance = one.chance["recall_at_1_within_kind"]
    return f"within kinds: explained {explained.value:.0%} · R@1 {recall.value:.1%} (chance {chance:.1%})"
