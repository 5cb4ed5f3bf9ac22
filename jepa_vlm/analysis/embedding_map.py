"""t-SNE of both views' embeddings by task (paper, Figure 4): a picture; ``agreement`` measures what it suggests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from jepa_vlm.analysis.embeddings import Embeddings
from jepa_vlm.errors import missing_extra

PERPLEXITY = 30.0


@final
@dataclass(frozen=True)
class EmbeddingMap:
    """Both views of each example in the plane.

    Args:
        name, readout: Of the embeddings.
        ids, tasks: Of the examples.
        predicted, target: Places, ("examples 2").
        perplexity, seed: Of t-SNE.
        divergence: What it arrived at; smaller is truer to the neighbourhoods.
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
    """Lay both views into one plane by t-SNE.

    Embeddings are brought to length 1 first, so that neighbours are those by cosine, as in retrieval.

    Args:
        embeddings: Of at least two examples.
        perplexity: About how many neighbours each point has; None takes 30, or a third of the points if they are few.
        seed: Of t-SNE.

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
