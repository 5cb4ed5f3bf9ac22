"""What the tool loop shows a model on the playground is what it saw in training, tokens and pixels."""

from __future__ import annotations

import pytest
import torch

import jepa_vlm as jv
from jepa_vlm import playground
from jepa_vlm.evaluation.scoring import default_loop
from jepa_vlm.generation.tool_loop import answer_with_tools
from jepa_vlm.serialization import Serializer
from jepa_vlm.trajectories import MultipleChoice
from jepa_vlm.views import Conversation, Request


@pytest.fixture(scope="module")
def backbone():
    return jv.load_backbone("tiny-qwen2.5-vl")


@pytest.mark.parametrize("task", ["visual-search", "jigsaw", "maze", "chart-reading", "one-tool-many-calls"])
def test_an_experts_words_lead_to_the_training_example(backbone, monkeypatch, task):
    (expert,) = playground.trajectories(task, count=1, seed=3, direct_share=0)
    said = [step.spoken for step in expert.steps]
    prompts, pictures = [], []

    def generate(model, input_ids, pixel_values, **_):
        spoken = backbone.tokenizer.encode(said[len(prompts)], add_special_tokens=False)
        prompts.append(input_ids[0])
        pictures.append(pixel_values)
        return torch.cat([input_ids, torch.tensor([[*spoken, backbone.tokenizer.eos_token_id]])], dim=1)

    monkeypatch.setattr(type(backbone.model), "generate", generate)
    item = MultipleChoice(id="x", images=expert.images, prompt=expert.question, options=("a", "b"), answer=0)
    (answer,) = answer_with_tools(backbone, [item], default_loop(f"playground:{task}"))
    assert answer.turns == tuple(said)
    assert (answer.use.calls, answer.use.failures) == (expert.calls, 0)
    serializer = Serializer(processor=backbone.processor, adapter=backbone.adapter)
    (trained,) = serializer.views(expert, [Request(Conversation())])
    shown = torch.cat([prompts[-1], torch.tensor(backbone.tokenizer.encode(said[-1], add_special_tokens=False))])
    assert trained.input_ids[: len(shown)].tolist() == shown.tolist()
    read = backbone.processor.image_processor(images=[image.load() for image in expert.all_images], return_tensors="pt")
    torch.testing.assert_close(pictures[-1], read["pixel_values"])
