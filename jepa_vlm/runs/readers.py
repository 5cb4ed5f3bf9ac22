"""From a run, a checkpoint or a backbone's name to a model that reads both views' embeddings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

from torch import nn

from jepa_vlm.adapters import Backbone, load_backbone
from jepa_vlm.analysis.embeddings import own_prediction, readout_prediction
from jepa_vlm.errors import RunError
from jepa_vlm.latent_vlm import LatentVLM
from jepa_vlm.objectives import LatentPrediction
from jepa_vlm.recipe import load_recipe
from jepa_vlm.runs.environment import device, prepare
from jepa_vlm.training import load_checkpoint, load_weights
from jepa_vlm.training.checkpoint import BEST, CHECKPOINTS, find_checkpoint, is_checkpoint, read_origin
from jepa_vlm.views import Readout

CONFIG = "config.json"


@final
@dataclass(frozen=True)
class Reader:
    """A model that reads embeddings, for ``embed``.

    Args:
        name: To show.
        model: With one prediction term.
        readout: How it reads, in words.
        data, seed: Of the run that trained it; None for a plain backbone.
        digests: Of that data, as the run recorded them.
    """

    name: str
    model: LatentVLM
    readout: str
    data: str | None
    seed: int | None
    digests: Mapping[str, str]


def load_trained(run_or_checkpoint: str | Path) -> LatentVLM:
    """Return the model of a run with all that it trained: adapter, heads, [PRED] inputs, averaged targets.

    Args:
        run_or_checkpoint: A run, whose best checkpoint is taken, or a checkpoint inside a run.

    Raises:
        RunError: If it is neither, was trained with an objective that was composed in Python, or the recipe has
            changed since.
    """
    checkpoint = find_checkpoint(Path(run_or_checkpoint))
    origin, config = read_origin(checkpoint), _config(checkpoint)
    if config is None:
        raise RunError(f"{checkpoint} lies in no run (no {CONFIG} above it), so its objective is not known.")
    name = config["recipe"]["value"]
    if name == "composed":
        raise RunError(
            f"The objective of {checkpoint} was composed in Python; build it there and use "
            "jepa_vlm.analysis.embeddings, or read the states at a readout, such as last_token."
        )
    given = {key.partition(".")[2]: held["value"] for key, held in config.items() if key.startswith("parameter.")}
    prepare(origin.seed, backbone=origin.backbone)
    model = LatentVLM(
        _placed(load_checkpoint(checkpoint)),
        load_recipe(name, **given).objective,
        engine=config["engine"]["value"],
        seed=origin.seed,
    )
    if str(model.objective) != config["objective"]:
        raise RunError(f"Recipe {name!r} is no longer what trained {checkpoint}; check out the code of that run.")
    load_weights(model, checkpoint)
    return model


def open_reader(
    named: str, *, readout: Readout | None = None, context: Literal["none", "image", "question"] = "none"
) -> Reader:
    """Return what reads a model's embeddings.

    Args:
        named: A run, a checkpoint, a model folder, or a name of ``backbones``.
        readout: At which states; None takes the run's own prediction if it has one, else ``last_token``.
        context: What stands before the trajectory, where a readout is taken.

    Raises:
        JepaVLMError: If the model cannot be loaded, or its own prediction cannot be rebuilt.
    """
    path = Path(named)
    checkpoint = find_checkpoint(path)
    trained = is_checkpoint(checkpoint)
    config = (_config(checkpoint) if trained else None) or {}
    data, seed = (config.get(key, {}).get("value") for key in ("data", "seed"))
    digests = config.get("data_digests", {})
    shown = _shown(path.resolve()) if trained else named
    if readout is None and config:
        model = load_trained(checkpoint)
        if any(isinstance(term, LatentPrediction) for _, term in model.objective.parts()):
            return Reader(shown, own_prediction(model), "its own prediction", data, seed, digests)
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
    return Reader(shown, model, f"{chosen}, trajectory after {context}", data, seed, digests)


def _shown(path: Path) -> str:
    """Return a run's name for the run and its best checkpoint, and that of both for another checkpoint."""
    if path.name == BEST:
        return path.parent.name
    return f"{path.parent.parent.name}/{path.name}" if path.parent.name == CHECKPOINTS else path.name


def _config(checkpoint: Path) -> Mapping[str, Any] | None:
    """Return the configuration of the run that a checkpoint lies in, best or numbered, or None."""
    for folder in (checkpoint.parent, checkpoint.parent.parent):
        if not (folder / CONFIG).is_file():
            continue
        try:
            found: Mapping[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        except ValueError as err:
            raise RunError(f"{folder / CONFIG} is not JSON ({err}); the run is damaged.") from None
        if "objective" in found:  # a model folder has a file of this name too
            return found
    return None


def _placed(backbone: Backbone) -> Backbone:
    nn.Module.to(backbone.model, device())
    return backbone
