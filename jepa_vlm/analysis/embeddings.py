"""Both views' embeddings of held-out trajectories: predicted from the question, and of the trajectory itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

import torch
from accelerate.utils import send_to_device
from peft import PeftModel
from safetensors import SafetensorError, safe_open
from torch.utils.data import DataLoader

from jepa_vlm.errors import DataError, RecipeError
from jepa_vlm.generation.greedy import inference
from jepa_vlm.latent_vlm import LatentVLM
from jepa_vlm.objectives import LatentPrediction
from jepa_vlm.predictors import IdentityPredictor
from jepa_vlm.tensor_files import write_tensors
from jepa_vlm.training.monitors import kind_of
from jepa_vlm.trajectories import Trajectory
from jepa_vlm.typing import Latent
from jepa_vlm.view_encoder import ViewEncoder
from jepa_vlm.views import Question, Readout, TrajectoryOnly, frozen, stop_gradient

FORMAT = "jepa-vlm-embeddings-2"


@final
@dataclass(frozen=True)
class Embeddings:
    """Two embeddings of each example of a set.

    Args:
        name: Of the model.
        readout: How they were read, in words.
        ids, tasks, kinds: Of the examples; see ``training.monitors.kind_of``.
        predicted: From image and question, float32.
        target: From the trajectory, float32.
        by_direction: Whether the loss that made them sees directions alone.

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
        """Write one safetensors file, names, tasks and kinds in its header."""
        path.parent.mkdir(parents=True, exist_ok=True)
        said = {"format": FORMAT, "name": self.name, "readout": self.readout}
        header = said | {key: json.dumps(getattr(self, key)) for key in ("ids", "tasks", "kinds", "by_direction")}
        write_tensors(path, {"predicted": self.predicted, "target": self.target}, header)

    @classmethod
    def load(cls, path: Path) -> Embeddings:
        """Read a file that ``save`` wrote.

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


def readout_prediction(
    readout: Readout = "last_token", *, context: Literal["none", "image", "question"] = "none"
) -> LatentPrediction:
    """Return the pair of latents that any model has, whatever it was trained with, for comparing recipes.

    Args:
        readout: Of the question view, without [PRED] slots or predictor, and of the trajectory view.
        context: What stands before the trajectory.
    """
    return LatentPrediction(
        context=ViewEncoder(Question(), readout=readout),
        predictor=IdentityPredictor(),
        target=ViewEncoder(TrajectoryOnly(context=context), readout=readout, policy=stop_gradient()),
    )


def own_prediction(model: LatentVLM, term: str | None = None) -> LatentVLM:
    """Return a model that computes one of a trained model's prediction terms alone, with its trained parts.

    A cached target is computed anew, as the stored ones are of other trajectories, by the base under the adapter. Loss
    dropout is off.

    Args:
        model: As trained; its backbone is shared.
        term: Name of the term; None takes the only one.

    Raises:
        RecipeError: If the objective has no such term, or several and none is named, or a cached target's base weights
            have been trained over.
    """
    terms = {own.name: own for _, own in model.objective.parts() if isinstance(own, LatentPrediction)}
    if not terms:
        raise RecipeError(
            f"The objective ({', '.join(model.objective.weights)}) predicts no latent; name a readout, such as "
            "last_token, to read its states."
        )
    if term not in terms and not (term is None and len(terms) == 1):
        raise RecipeError(f"Which prediction is meant? The objective has {', '.join(terms)}, asked was {term!r}.")
    trained = terms[term] if term is not None else next(iter(terms.values()))
    alone = deepcopy(trained)
    alone.loss_dropout = 0.0
    if alone.target.policy.weights == "cached":
        if not isinstance(model.backbone.model, PeftModel):
            raise RecipeError(
                "The target was cached from base weights that were then trained in full, so those of new trajectories "
                "cannot be computed; name a readout, such as last_token, to read the model's states."
            )
        alone.target.policy = frozen()
    reader = LatentVLM(model.backbone, alone, engine=model.engine)
    (_, held), *_ = reader.objective.parts()
    held.load_state_dict(trained.state_dict())
    if reader.target_weights.decay is not None:
        reader.target_weights.load_state_dict(model.target_weights.state_dict())
    return reader


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
        reader: With one prediction term: from ``own_prediction``, or a backbone with ``readout_prediction``.
        trajectories: Held out, at least two.
        name, readout: For the record.
        batch_size: Trajectories per forward.
        workers: Processes that load data.
        progress: Told after each batch how many trajectories it had.

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
