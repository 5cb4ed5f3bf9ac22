"""Measures how well predicted embeddings agree with their targets, and how well both separate tasks and examples.

Each figure is a mean of one value per example, so that intervals, tasks and paired differences use the same values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from jepa_vlm.contrib.analysis.bootstrap import BootstrapEstimate, bootstrap_mean
from jepa_vlm.contrib.analysis.embeddings import Embeddings
from jepa_vlm.errors import DataError, missing_extra
from jepa_vlm.training.monitors import centred, explained_rows, recall_rows, same_kind, shuffled_rows

RECALLS = (1, 5)
Values = NDArray[np.float64]


@final
@dataclass(frozen=True)
class Agreement:
    """The agreement of the two views of a set.

    Args:
        name: Name of the model.
        readout: Description of the readout.
        ids: Id of each example.
        tasks: Task of each example.
        values: By figure, one value per example; nan for an example without a value, such as one alone in its task.
        chance: By figure, the value of embeddings without any information, where it is not 0.
    """

    name: str
    readout: str
    ids: tuple[str, ...]
    tasks: tuple[str, ...]
    values: Mapping[str, Values]
    chance: Mapping[str, float]

    def estimate(self, figure: str, task: str | None = None) -> BootstrapEstimate:
        """Return a figure's mean with its 95% bootstrap interval, over all examples or those of one task.

        Each example is always compared with the whole set (other trajectories, other clusters).
        """
        values = self.values[figure]
        return _mean(values if task is None else values[np.array(self.tasks) == task])

    def difference(self, other: Agreement, figure: str) -> BootstrapEstimate:
        """Return a figure minus that of another model on the same examples, paired by example.

        Raises:
            DataError: If the examples differ.
        """
        if self.ids != other.ids:
            raise DataError(
                f"{self.name} and {other.name} were not embedded on the same examples; use one set for both."
            )
        return _mean(self.values[figure] - other.values[figure])

    def summary(self) -> dict[str, Any]:
        """Return every figure over all examples and by task, as JSON values."""
        counts = Counter(self.tasks)
        return {
            "name": self.name,
            "readout": self.readout,
            "examples": len(self.ids),
            "figures": {
                figure: self.estimate(figure)._asdict()
                | ({"chance": self.chance[figure]} if figure in self.chance else {})
                for figure in self.values
            },
            "tasks": {
                task: {"examples": counts[task]}
                | {figure: self.estimate(figure, task)._asdict() for figure in self.values}
                for task in sorted(counts)
            },
        }

    def table(self) -> list[dict[str, Any]]:
        """Return a row for each example."""
        return [
            {"name": self.name, "id": name, "task": task, **{figure: float(v[i]) for figure, v in self.values.items()}}
            for i, (name, task) in enumerate(zip(self.ids, self.tasks, strict=True))
        ]


def _mean(values: Values) -> BootstrapEstimate:
    """Return the mean over the examples that have a value; nan if none has."""
    kept = values[~np.isnan(values)]
    return bootstrap_mean(kept) if len(kept) else BootstrapEstimate(*[float("nan")] * 3)


def agreement(embeddings: Embeddings) -> Agreement:
    """Measure the agreement of the views in float64.

    ``alignment``: cosine with the own trajectory minus the mean cosine with other examples' trajectories.
    ``recall_at_K``: whether the own trajectory is among the K nearest of the set by cosine; ties share the places.
    ``*_within_task``, ``*_within_kind``: compared with examples of the same task, or kind, only.
    ``explained_within_kind``: the share of the targets' variance within kinds that the predictions explain;
    ``explained_centred_within_kind``: the same after subtracting the mean of the kind from both sides.
    ``silhouette_predicted``, ``_target``, ``_both``: silhouette by task and cosine distance. ``silhouette_views``: by
    view instead; near 0 where the views mix.

    Raises:
        DataError: If an embedding is not finite.
        JepaVLMError: If scikit-learn is not installed.
    """
    if not (embeddings.predicted.isfinite().all() and embeddings.target.isfinite().all()):
        raise DataError(f"Embeddings of {embeddings.name} are not finite; the model has diverged.")
    groups = {
        "": torch.ones(len(embeddings.ids), len(embeddings.ids), dtype=torch.bool),
        "_within_task": same_kind(embeddings.tasks),
        "_within_kind": same_kind(embeddings.kinds),
    }
    one, other = F.normalize(embeddings.predicted.double()), F.normalize(embeddings.target.double())
    cosines = one @ other.T
    values = {"matched_cosine": cosines.diagonal().numpy().copy()}
    chance = {}
    for suffix, among in groups.items():
        shuffled = shuffled_rows(cosines, among).numpy()
        values[f"shuffled_cosine{suffix}"] = shuffled
        values[f"alignment{suffix}"] = values["matched_cosine"] - shuffled
        alone = np.isnan(shuffled)
        for k in RECALLS:
            hits = recall_rows(cosines, among, k).numpy()
            values[f"recall_at_{k}{suffix}"] = np.where(alone, np.nan, hits)
            guesses = (k / among.sum(1)).clamp(max=1).numpy()
            chance[f"recall_at_{k}{suffix}"] = float(guesses[~alone].mean()) if not alone.all() else float("nan")
    among = groups["_within_kind"]
    p, t = (one, other) if embeddings.by_direction else (embeddings.predicted, embeddings.target)
    values["explained_within_kind"] = explained_rows(p, t, among).numpy()
    values["explained_centred_within_kind"] = explained_rows(centred(p, among), centred(t, among), among).numpy()
    values.update(_silhouettes(embeddings))
    return Agreement(embeddings.name, embeddings.readout, embeddings.ids, embeddings.tasks, values, chance)


def _silhouettes(embeddings: Embeddings) -> dict[str, Values]:
    """Return silhouettes by example; those by task need several tasks, at least one with several examples."""
    n = len(embeddings.ids)
    predicted, target = embeddings.predicted.double().numpy(), embeddings.target.double().numpy()
    both = np.concatenate([predicted, target])

    def rows(points: Values, labels: Any) -> Values:
        try:
            from sklearn.metrics import silhouette_samples
        except ImportError:
            raise missing_extra("scikit-learn", "analysis", "A silhouette") from None
        found: Values = silhouette_samples(points, labels, metric="cosine").reshape(-1, n).mean(0)
        return found

    def cases() -> Iterator[tuple[str, Values, Any]]:
        if 2 <= len(set(embeddings.tasks)) < n:
            yield "silhouette_predicted", predicted, embeddings.tasks
            yield "silhouette_target", target, embeddings.tasks
            yield "silhouette_both", both, embeddings.tasks * 2
        yield "silhouette_views", both, [0] * n + [1] * n

    return {name: rows(points, labels) for name, points, labels in cases()}
