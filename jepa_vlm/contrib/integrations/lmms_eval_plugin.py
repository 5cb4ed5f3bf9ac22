"""The plug-in for lmms-eval: its entry point, and the conversion of a task's requests to this library's questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from jepa_vlm.errors import DataError
from jepa_vlm.generation.greedy import OpenQuestion
from jepa_vlm.trajectories import LazyImage

PLUG_IN = "jepa_vlm"  # the model's name in lmms-eval
MAX_NEW_TOKENS = 128  # for a task that states no limit


def manifests() -> list[Any]:
    """Return the ``ModelManifest`` of the plug-in; lmms-eval imports the class when it uses the model."""
    from lmms_eval.models.registry_v2 import ModelManifest

    path = "jepa_vlm.contrib.integrations.lmms_eval_model.JepaVLM"
    return [ModelManifest(model_id=PLUG_IN, chat_class_path=path)]


def question(messages: Sequence[Mapping[str, Any]], place: str) -> OpenQuestion:
    """Return the open question of one user turn with images before words.

    Raises:
        DataError: If the messages are anything else.
    """
    parts = [(part["type"], part) for message in messages for part in message["content"]]
    kinds = [kind for kind, _ in parts]
    if (
        [message["role"] for message in messages] != ["user"]
        or kinds != sorted(kinds)
        or set(kinds) - {"image", "text"}
    ):
        roles = ", ".join(message["role"] for message in messages)
        raise DataError(f"{place} must be one user turn, images and then words; got {', '.join(kinds)} ({roles}).")
    images = tuple(_image(part["url"], place) for kind, part in parts if kind == "image")
    return OpenQuestion(place, images, "".join(part["text"] for kind, part in parts if kind == "text"))


def _image(held: object, place: str) -> LazyImage:
    if isinstance(held, Image.Image):
        return LazyImage(pixels=held, origin=place)
    if isinstance(held, str) and Path(held).is_file():
        return LazyImage(path=Path(held), origin=place)
    raise DataError(f"{place}: an image must be a picture or a file, got {str(held)[:80]!r}.")


def limits(settings: Mapping[str, Any], place: str) -> tuple[int, tuple[str, ...]]:
    """Return the most new tokens of an answer, and the strings that end it.

    Raises:
        DataError: If the task asks for anything but greedy decoding.
    """
    if settings.get("do_sample") or (settings.get("temperature") or 0) > 0 or (settings.get("num_beams") or 1) > 1:
        raise DataError(
            f"{place} asks for sampling or beams, and jepa_vlm decodes greedily; add --gen_kwargs "
            "temperature=0,do_sample=False,num_beams=1 to measure it so."
        )
    until = settings.get("until") or ()
    ends = (until,) if isinstance(until, str) else tuple(until)
    return int(settings.get("max_new_tokens") or MAX_NEW_TOKENS), ends


def cut(text: str, until: tuple[str, ...]) -> str:
    """Return the text up to the first string that ends an answer."""
    for end in until:
        text = text.partition(end)[0] if end else text
    return text
