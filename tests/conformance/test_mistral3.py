"""Mistral 3's adapter, behind a stand-in for Pixtral's processor, which cannot be imported without torchvision."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageTextToText, ProcessorMixin
from transformers.models.pixtral.image_processing_pil_pixtral import PixtralImageProcessorPil

from jepa_vlm import Lora
from jepa_vlm.adapters import ADAPTERS, Backbone
from jepa_vlm.adapters.tiny.build import tiny_config, tiny_tokenizer
from jepa_vlm.adapters.tiny.llava_and_mistral import MISTRAL3
from jepa_vlm.adapters.tiny.model import MERGE, PATCH
from jepa_vlm.conformance import CHECKS, Subject
from jepa_vlm.conformance.check import run_check
from jepa_vlm.conformance.subject import RANK, randomize_lora, sample_trajectories
from jepa_vlm.training import apply_lora


class StandIn(ProcessorMixin):
    """Writes rows of [IMG], a break behind each and an end behind the last."""

    images_kwargs: dict[str, Any] = {"return_tensors": "pt"}  # noqa: RUF012 - as in transformers

    def __init__(self, image_processor: Any = None, tokenizer: Any = None, chat_template: str | None = None) -> None:
        super().__init__(image_processor, tokenizer, chat_template=chat_template)
        self.image_token, self.patch_size, self.spatial_merge_size = "[IMG]", PATCH, MERGE
        self.image_token_id = tokenizer.convert_tokens_to_ids("[IMG]")

    def _process_images(self, images: Any, **kwargs: Any) -> Any:
        return super()._process_images(images, **{**kwargs, "patch_size": PATCH * MERGE})

    def replace_image_token(self, image_inputs: Any, image_idx: int, **kwargs: Any) -> str:
        height, width = (int(side) // (PATCH * MERGE) for side in image_inputs["image_sizes"][image_idx])
        return "[IMG_BREAK]".join(["[IMG]" * width] * height) + "[IMG_END]"


@pytest.fixture(scope="module")
def subject() -> Subject:
    tokenizer = tiny_tokenizer(MISTRAL3.vocabulary)
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(tiny_config(MISTRAL3, tokenizer)).double().eval()
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    image_processor = PixtralImageProcessorPil(**deepcopy(MISTRAL3.image_settings))
    processor = StandIn(image_processor, tokenizer, chat_template=MISTRAL3.template)
    backbone = Backbone("mistral3", model, processor, ADAPTERS["mistral3"](config=model.config))
    apply_lora(backbone, Lora(rank=RANK, alpha=2 * RANK))
    randomize_lora(backbone)
    return Subject("mistral3", backbone, tuple(sample_trajectories()))


@pytest.mark.parametrize("check", CHECKS[:-1], ids=lambda check: check.name)  # the last one loads it anew, by name
def test_every_check_passes_for_mistral3(check, subject):
    result = run_check(check, subject)
    assert result.verdict == "pass", result.detail


def test_a_budget_of_visual_tokens_bounds_the_longer_side_for_mistral3(subject):
    adapter, processor = subject.backbone.adapter, subject.backbone.processor
    before = dict(processor.image_processor.size)
    adapter.limit_visual_tokens(processor, 16)
    assert all(adapter.image_tokens(processor, *size).length <= 16 for size in ((300, 300), (400, 100)))
    processor.image_processor.size = before
    adapter._tokens_by_size.clear()
