"""Loads the model that computes embeddings: a run, a checkpoint, a model folder or a named backbone."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

from peft import PeftModel
from torch import nn

from jepa_vlm.adapters import Backbone, load_backbone
from jepa_vlm.errors import RecipeError, RunError
from jepa_vlm.latent_vlm import LatentVLM
from jepa_vlm.objectives import LatentPrediction
from jepa_vlm.predictors import IdentityPredictor
from jepa_vlm.recipe import load_recipe
from jepa_vlm.runs.environment import device, prepare
from jepa_vlm.training import load_checkpoint, load_weights
from jepa_vlm.training.checkpoint import BEST, CHECKPOINTS, find_checkpoint, is_checkpoint, read_origin
from jepa_vlm.training.run_config import CONFIG, RunConfig
from jepa_vlm.view_encoder import ViewEncoder
from jepa_vlm.views import Question, Readout, TrajectoryOnly, frozen, stop_gradient


@final
@dataclass(frozen=True)
class EmbeddingReader:
    """A model that computes embeddings, for ``embed``.

    Args:
        name: Name to show.
        model: Model with one prediction term.
        readout: Description of the readout.
        data: Data of the run that trained the model; None for a plain backbone.
        seed: Random seed of that run; None for a plain backbone.
        digests: Digests of that data, as the run recorded them.
    """

    name: str
    model: LatentVLM
    readout: str
    data: str | None
    seed: int | None
    digests: Mapping[str, str]


def readout_prediction(
    readout: Readout = "last_token", *, context: Literal["none", "image", "question"] = "none"
) -> LatentPrediction:
    """Return a prediction term that any model can compute, so that models of different recipes are compared alike.

    Args:
        readout: Readout of the question view, without [PRED] tokens or predictor, and of the trajectory view.
        context: Context before the trajectory.
    """
    return LatentPrediction(
        context=ViewEncoder(Question(), readout=readout),
        predictor=IdentityPredictor(),
        target=ViewEncoder(TrajectoryOnly(context=context), readout=readout, policy=stop_gradient()),
    )


def own_prediction(model: LatentVLM, term: str | None = None) -> LatentVLM:
    """Return a model that computes only one prediction term of a trained model, with its trained parts.

    The base model under the adapter computes a cached target, since the stored targets belong to other trajectories.
    Loss dropout is off.

    Args:
        model: The trained model; the result shares its backbone.
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
    if alone.target.policy.is_cached:
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


def load_run_model(run_or_checkpoint: str | Path) -> LatentVLM:
    """Return the model of a run with all trained weights: adapter, heads, [PRED] embeddings, averaged targets.

    Args:
        run_or_checkpoint: A run, of which the best checkpoint is loaded, or a checkpoint inside a run.

    Raises:
        RunError: If it is neither, if its objective was composed in Python, or if the recipe has changed since.
    """
    checkpoint = find_checkpoint(Path(run_or_checkpoint))
    origin, config = read_origin(checkpoint), _config(checkpoint)
    if config is None:
        raise RunError(f"{checkpoint} lies in no run (no {CONFIG} above it), so its objective is not known.")
    name = config.values["recipe"]
    if name == "composed":
        raise RunError(
            f"The objective of {checkpoint} was composed in Python; build it there and use "
            "jepa_vlm.contrib.analysis.embeddings, or read the states at a readout, such as last_token."
        )
    prepare(origin.seed, backbone=origin.backbone)
    model = LatentVLM(
        _placed(load_checkpoint(checkpoint)),
        load_recipe(name, **config.parameters).objective,
        engine=config.values["engine"],
        seed=origin.seed,
    )
    if str(model.objective) != config.record["objective"]:
        raise RunError(f"Recipe {name!r} is no longer what trained {checkpoint}; check out the code of that run.")
    load_weights(model, checkpoint)
    return model


def open_reader(
    named: str, *, readout: Readout | None = None, context: Literal["none", "image", "question"] = "none"
) -> EmbeddingReader:
    """Return the reader of a model's embeddings.

    Args:
        named: A run, a checkpoint, a model folder, or a name of ``backbones``.
        readout: Readout of the states; None takes the run's own prediction if it has one, else ``last_token``.
        context: Context before the trajectory, where a readout is taken.

    Raises:
        JepaVLMError: If the model cannot be loaded, or its own prediction cannot be rebuilt.
    """
    path = Path(named)
    checkpoint = find_checkpoint(path)
    trained = is_checkpoint(checkpoint)
    config = _config(checkpoint) if trained else None
    data, seed = (None, None) if config is None else (config.values.get("data"), config.values.get("seed"))
    digests = {} if config is None else config.record.get("data_digests", {})
    shown = _shown(path.resolve()) if trained else named
    if readout is None and config is not None:
        model = load_run_model(checkpoint)
        if any(isinstance(term, LatentPrediction) for _, term in model.objective.parts()):
            return EmbeddingReader(shown, own_prediction(model), "its own prediction", data, seed, digests)
        backbone = model.backbone
    elif trained:
        prepare(0, backbone=read_origin(checkpoint).backbone)
        backbone = _placed(load_checkpoint(checkpoint))
    else:
        prepare(0, backbone=named)
        backbone = _placed(load_backbone(named))
    chosen: Readout = readout or "last_token"
    model = LatentVLM(
        backbone,
        readout_prediction(chosen, context=context),
        engine="separate" if backbone.adapter.separate_because else "one_pass",
    )
    return EmbeddingReader(shown, model, f"{chosen}, trajectory after {context}", data, seed, digests)


def _shown(path: Path) -> str:
    """Return the name of the run; for a checkpoint other than the best, RUN/CHECKPOINT."""
    if path.name == BEST:
        return path.parent.name
    return f"{path.parent.parent.name}/{path.name}" if path.parent.name == CHECKPOINTS else path.name


def _config(checkpoint: Path) -> RunConfig | None:
    """Return the configuration of the run that a checkpoint lies in, None if it lies in no run."""
    folders = (folder for folder in (checkpoint.parent, checkpoint.parent.parent) if (folder / CONFIG).is_file())
    return next((config for config in map(RunConfig.read, folders) if config.of_run), None)


def _placed(backbone: Backbone) -> Backbone:
    nn.Module.to(backbone.model, device())
    return backbone
