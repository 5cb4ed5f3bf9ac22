"""The model ``jepa_vlm`` of lmms-eval: answers in the way that the recipe trained, tools and latents included.

    python -m lmms_eval --model jepa_vlm --model_args pretrained=RUN_OR_FOLDER --tasks vstar_bench

lmms-eval imports this module; nothing else here does, so that it need not be installed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, final

import torch
from accelerate import Accelerator
from lmms_eval.api.model import lmms
from PIL import Image
from tqdm import tqdm

from jepa_vlm.elsewhere.trained import load_trained
from jepa_vlm.errors import DataError
from jepa_vlm.generation.asked import Asked
from jepa_vlm.trajectories import LazyImage

MAX_NEW_TOKENS = 128  # of a task that states none


@final
class JepaVLM(lmms):
    """Asks a trained model what a task asks.

    Args:
        pretrained: A run, a checkpoint, an exported folder, or a name of ``jepa-vlm backbones``.
        inference: A name of ``jepa_vlm.generation.answering``; "" for the model's own.
        dtype: Of an exported folder's weights.
        device: ``cuda``, ``cpu``, ...; "" takes a GPU where there is one.
        batch_size: Questions asked together.
        max_batch_size: Not used.
    """

    is_simple = False

    def __init__(
        self,
        pretrained: str,
        inference: str = "",
        dtype: str = "float32",
        device: str = "",
        batch_size: int | str = 1,
        max_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        self.accelerator = Accelerator()
        self._rank, self._world_size = self.accelerator.process_index, self.accelerator.num_processes
        several = self._world_size > 1
        self.device = self.accelerator.device if several or not device else torch.device(device)
        self.backbone, self.answer = load_trained(str(pretrained), dtype=dtype, inference=inference)
        self.backbone.model.to(self.device)  # type: ignore[arg-type]
        self.batch_size = int(batch_size)

    def generate_until(self, requests: Any) -> list[str]:
        """Return an answer to each request, in their order.

        Raises:
            DataError: If a task samples or searches, or its question is not images and then words.
        """
        found: dict[int, str] = {}
        asked = [(i, *self._asked(request.args)) for i, request in enumerate(requests)]
        bar = tqdm(total=len(asked), desc="Answering", disable=self._rank != 0)
        by_limit = sorted(asked, key=lambda one: one[2])
        for limit, same in groupby(by_limit, key=lambda one: one[2]):
            left = list(same)
            for start in range(0, len(left), self.batch_size):
                batch = left[start : start + self.batch_size]
                texts = self.answer(self.backbone, [item for _, item, _, _ in batch], max_new_tokens=limit)
                for (i, _, _, until), text in zip(batch, texts, strict=True):
                    found[i] = _cut(text, until)
                    context, _, settings, *_ = requests[i].args
                    self.cache_hook.add_partial("generate_until", (context, settings), found[i])
                bar.update(len(batch))
        bar.close()
        return [found[i] for i in range(len(asked))]

    def _asked(self, arguments: tuple[Any, ...]) -> tuple[Asked, int, tuple[str, ...]]:
        _, messages, settings, number, task, split = arguments
        place = f"{task}/{split}/{number}"
        limit, until = _limits(settings, place)
        return question(messages(self.task_dict[task][split][number]), place), limit, until

    def loglikelihood(self, requests: Any) -> Any:
        """Refuse: answers are generated."""
        raise NotImplementedError("jepa_vlm answers tasks of the kind generate_until.")

    def generate_until_multi_round(self, requests: Any) -> Any:
        """Refuse: a task's own rounds would stand in the way of the model's."""
        raise NotImplementedError("jepa_vlm answers tasks of one round; tool calls are rounds of its own.")


def question(messages: Sequence[Mapping[str, Any]], place: str) -> Asked:
    """Return one user turn, images before words, as an open question.

    Raises:
        DataError: If it is anything else.
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
    return Asked(place, images, "".join(part["text"] for kind, part in parts if kind == "text"))


def _image(held: object, place: str) -> LazyImage:
    if isinstance(held, Image.Image):
        return LazyImage(pixels=held, origin=place)
    if isinstance(held, str) and Path(held).is_file():
        return LazyImage(path=Path(held), origin=place)
    raise DataError(f"{place}: an image must be a picture or a file, got {str(held)[:80]!r}.")


def _limits(settings: Mapping[str, Any], place: str) -> tuple[int, tuple[str, ...]]:
    """Return the most tokens and the strings that end an answer.

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


def _cut(text: str, until: tuple[str, ...]) -> str:
    for end in until:
        text = text.partition(end)[0] if end else text
    return text
