"""The model ``jepa_vlm`` of lmms-eval: it answers as its recipe trained it to, with tools and latents too.

    python -m lmms_eval --model jepa_vlm --model_args pretrained=RUN_OR_FOLDER --tasks vstar_bench

Only lmms-eval imports this module, so that the rest does not need lmms-eval.
"""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path
from typing import Any, final

import torch
from accelerate import Accelerator
from lmms_eval.api.model import lmms
from tqdm import tqdm

from jepa_vlm.adapters import Backbone
from jepa_vlm.contrib.integrations.lmms_eval_plugin import cut, limits, question
from jepa_vlm.evaluation.scoring import template_notes
from jepa_vlm.generation.answering import ANSWERINGS, Answering
from jepa_vlm.generation.greedy import OpenQuestion
from jepa_vlm.training.checkpoint import (
    answering_of,
    find_checkpoint,
    is_checkpoint,
    load_checkpoint,
    load_exported,
)


@final
class JepaVLM(lmms):
    """Answers the questions of a task with a trained model.

    Args:
        pretrained: A run, a checkpoint, an exported folder, or a name of ``jepa-vlm backbones``.
        inference: A name of ``jepa_vlm.generation.answering.ANSWERINGS``; "" for the model's own.
        dtype: Dtype of the weights of an exported folder.
        device: ``cuda``, ``cpu``, ...; "" takes a GPU where there is one.
        batch_size: Number of questions answered together.
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
        self.backbone, self.answering = answering_model(str(pretrained), dtype=dtype, inference=inference)
        self.backbone.model.to(self.device)  # type: ignore[arg-type]
        for note in template_notes(self.backbone, ("free",)):
            tqdm.write(f"Note: {note}", file=sys.stderr)
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
                texts = self.answering.texts(self.backbone, [item for _, item, _, _ in batch], max_new_tokens=limit)
                for (i, _, _, until), text in zip(batch, texts, strict=True):
                    found[i] = cut(text, until)
                    context, _, settings, *_ = requests[i].args
                    self.cache_hook.add_partial("generate_until", (context, settings), found[i])
                bar.update(len(batch))
        bar.close()
        return [found[i] for i in range(len(asked))]

    def _asked(self, arguments: tuple[Any, ...]) -> tuple[OpenQuestion, int, tuple[str, ...]]:
        _, messages, settings, number, task, split = arguments
        place = f"{task}/{split}/{number}"
        limit, until = limits(settings, place)
        return question(messages(self.task_dict[task][split][number]), place), limit, until

    def loglikelihood(self, requests: Any) -> Any:
        """Refuse: answers are generated."""
        raise NotImplementedError("jepa_vlm answers tasks of the kind generate_until.")

    def generate_until_multi_round(self, requests: Any) -> Any:
        """Refuse: a task's own rounds would stand in the way of the model's."""
        raise NotImplementedError("jepa_vlm answers tasks of one round; tool calls are rounds of its own.")


def answering_model(name: str, *, dtype: str = "float32", inference: str = "") -> tuple[Backbone, Answering]:
    """Return a trained model, and how it answers.

    Args:
        name: A run, a checkpoint, an exported folder, or anything else that ``load_backbone`` takes.
        dtype: Dtype of the weights of an exported folder; a checkpoint has its own.
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
