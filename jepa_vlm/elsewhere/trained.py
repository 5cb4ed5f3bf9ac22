"""A trained model by its run, its checkpoint or its exported folder, with the way in which it answers."""

from __future__ import annotations

from pathlib import Path

from jepa_vlm.adapters import Backbone
from jepa_vlm.generation.answering import ANSWERS, Answer, latents_by
from jepa_vlm.recipe.recipe import LATENTS
from jepa_vlm.training.inference_file import load_exported
from jepa_vlm.training.merge import find_checkpoint, inference_of, is_checkpoint, load_checkpoint


def load_trained(name: str, *, dtype: str = "float32", inference: str = "") -> tuple[Backbone, Answer]:
    """Return a backbone and how it answers.

    Args:
        name: A run, a checkpoint, an exported folder, or anything else that ``load_backbone`` takes.
        dtype: Of the weights; a checkpoint's own goes before it.
        inference: A name of ``ANSWERS``; "" for the model's own.

    Raises:
        JepaVLMError: If there is no such model, or no such way of answering.
    """
    checkpoint = find_checkpoint(Path(name))
    own = inference_of(checkpoint)
    chosen = inference or own.name
    answer = ANSWERS[chosen]
    if chosen == LATENTS and own.decoding is not None:
        answer = latents_by(own.decoding)
    trained = load_checkpoint(checkpoint) if is_checkpoint(checkpoint) else load_exported(name, dtype=dtype)
    return trained, answer
