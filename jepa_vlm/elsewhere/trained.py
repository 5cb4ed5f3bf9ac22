"""A trained model by its run, its checkpoint or its exported folder, with the way in which it answers."""

from __future__ import annotations

from pathlib import Path

from jepa_vlm.adapters import Backbone
from jepa_vlm.generation.answering import ANSWERINGS, Answering
from jepa_vlm.training.checkpoint import answering_of, find_checkpoint, is_checkpoint, load_checkpoint, load_exported


def load_trained(name: str, *, dtype: str = "float32", inference: str = "") -> tuple[Backbone, Answering]:
    """Return a backbone and how it answers.

    Args:
        name: A run, a checkpoint, an exported folder, or anything else that ``load_backbone`` takes.
        dtype: Of the weights; a checkpoint's own goes before it.
        inference: A name of ``ANSWERINGS``; "" for the model's own.

    Raises:
        JepaVLMError: If there is no such model, or no such way of answering.
    """
    checkpoint = find_checkpoint(Path(name))
    answering = answering_of(checkpoint)
    if inference not in ("", answering.name):
        answering = ANSWERINGS[inference]
    trained = load_checkpoint(checkpoint) if is_checkpoint(checkpoint) else load_exported(name, dtype=dtype)
    return trained, answering
