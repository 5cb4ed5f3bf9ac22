"""Two embeddings of each held-out trajectory: predicted from its question, and read from the trajectory itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from accelerate.utils import send_to_device
from safetensors import SafetensorError, safe_open
from torch.utils.data import DataLoader

from jepa_vlm.errors import DataError
from jepa_vlm.generation.greedy import inference
from jepa_vlm.latent_vlm import LatentVLM
from jepa_vlm.training.monitors import kind_of
from jepa_vlm.trajectories import Trajectory
from jepa_vlm.typing import Latent
from jepa_vlm.whole_files import write_tensors

FORMAT = "jepa-vlm-embeddings-2"


@final
@dataclass(frozen=True)
class Embeddings:
    """Two embeddings of each example of a set.

    Args:
        name: Name of the model.
        readout: Description of the readout.
        ids: Id of each example.
        tasks: Task of each example.
        kinds: Kind of each example; see ``training.monitors.kind_of``.
        predicted: Embeddings predicted from image and question, float32.
        target: Embeddings of the trajectories, float32.
        by_direction: Whether the loss of the prediction ignores the length of an embedding.

    Raises:
        ValueError: If there are fewer than two examples, or the parts have different lengths.
    """

    name: str
    readout: str
    ids: tuple[str, ...]
    tasks: tuple[str, ...]
    kinds: tuple[str, ...]
    predicted: Latent
    target: Latent
    by_direction: bool = False

    def __post_init__(self) -> None:
        sizes = {len(self.ids), len(self.tasks), len(self.kinds), len(self.predicted), len(self.target)}
        if len(sizes) > 1 or min(sizes) < 2 or self.predicted.shape != self.target.shape:
            raise ValueError(
                f"Embeddings need two examples and one row of each side for each; got {len(self.ids)} ids, "
                f"{len(self.tasks)} tasks, {len(self.kinds)} kinds, {tuple(self.predicted.shape)} and "
                f"{tuple(self.target.shape)} rows."
            )

    def save(self, path: Path) -> None:
        """Write one safetensors file, with names, tasks and kinds in its header."""
        path.parent.mkdir(parents=True, exist_ok=True)
        said = {"format": FORMAT, "name": self.name, "readout": self.readout}
        header = said | {key: json.dumps(getattr(self, key)) for key in ("ids", "tasks", "kinds", "by_direction")}
        write_tensors(path, {"predicted": self.predicted, "target": self.target}, header)

    @classmethod
    def load(cls, path: Path) -> Embeddings:
        """Return the embeddings in a file that ``save`` wrote.

        Raises:
            DataError: If it is not such a file.
        """
        try:
            with safe_open(path, framework="pt") as held:
                header = held.metadata() or {}
                if header.get("format") != FORMAT:
                    raise KeyError("format")
                ids, tasks, kinds = (tuple(json.loads(header[name])) for name in ("ids", "tasks", "kinds"))
                sides = held.get_tensor("predicted"), held.get_tensor("target")
                by_direction = bool(json.loads(header["by_direction"]))
                return cls(header["name"], header["readout"], ids, tasks, kinds, *sides, by_direction)
        except (OSError, KeyError, ValueError, SafetensorError) as err:
            raise DataError(
                f"{path} holds no embeddings of format {FORMAT} ({err!r}); analyse the run again."
            ) from None


def embed(
    reader: LatentVLM,
    trajectories: Sequence[Trajectory],
    *,
    name: str,
    readout: str,
    batch_size: int = 8,
    workers: int = 0,
    progress: Callable[[int], object] | None = None,
) -> Embeddings:
    """Encode both views of every trajectory.

    Args:
        reader: Model with one prediction term, from ``own_prediction`` or with ``readout_prediction``.
        trajectories: At least two held-out trajectories.
        name: Name of the model.
        readout: Description of the readout.
        batch_size: Number of trajectories per forward.
        workers: Number of processes that load data.
        progress: Function that receives the number of trajectories of each finished batch.

    Raises:
        ValueError: If the reader has several terms, or there are fewer than two trajectories.
    """
    if len(reader.objective.weights) != 1 or len(trajectories) < 2:
        raise ValueError(
            f"Embeddings are of one prediction term and at least two trajectories; got "
            f"{list(reader.objective.weights)} and {len(trajectories)} trajectories."
        )
    loader: DataLoader[Any] = DataLoader(
        trajectories,  # type: ignore[arg-type]
        batch_size=batch_size,
        collate_fn=reader.collator(),
        num_workers=workers,
    )
    predicted, target = [], []
    with inference(reader):
        for batch in loader:
            (pair,) = reader(send_to_device(batch, reader.device)).latents.values()
            predicted.append(pair[0].float().cpu())
            target.append(pair[1].float().cpu())
            if progress is not None:
                progress(len(pair[0]))
    return Embeddings(
        name,
        readout,
        tuple(trajectory.id for trajectory in trajectories),
        tuple(trajectory.task for trajectory in trajectories),
        tuple(kind_of(trajectory) for trajectory in trajectories),
        torch.cat(predicted),
        torch.cat(target),
        next(term for _, term in reader.objective.parts()).by_direction,
    )
