"""A trained model by its run, its checkpoint or its exported folder, with the way in which it answers."""

from __future__ import annotations

from pathlib import Path

from jepa_vlm.adapters import Backbone, load_backbone
from jepa_vlm.generation.answering import ANSWERS, Answer
from jepa_vlm.training.checkpoint import read_origin
from jepa_vlm.training.inference_file import read_inference
from jepa_vlm.training.merge import find_checkpoint, is_checkpoint, load_checkpoint


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
    if is_checkpoint(checkpoint):
        answer = ANSWERS[inference or read_origin(checkpoint).inference]
        return load_checkpoint(checkpoint), answer
    answer = ANSWERS[inference or read_inference(Path(name))]
    return load_backbone(name, dtype=dtype), answer
