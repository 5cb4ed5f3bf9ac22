from __future__ import annotations

import pytest
import torch
from PIL import Image

from jepa_vlm.adapters import load_backbone
from jepa_vlm.generation import answers_by_scoring
from jepa_vlm.generation.greedy import prompt_inputs, prompt_text, user_turn
from jepa_vlm.trajectories import LazyImage, MultipleChoice


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("tiny-random-qwen2.5-vl", seed=0)


def picture(width: int) -> Image.Image:
    return Image.new("RGB", (width, 32), "red")


CONVERSATIONS = [
    [user_turn("red or blue ?", [picture(32)])],
    [user_turn("which is left of the square ?", [picture(64), picture(32)])],
]


def test_inputs_are_those_of_the_stock_chat_template(backbone):
    stock = backbone.processor.apply_chat_template(
        CONVERSATIONS,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        add_generation_prompt=True,
        processor_kwargs={"padding": True, "padding_side": "left"},
    )
    ours = prompt_inputs(backbone, CONVERSATIONS)
    assert ours.keys() == stock.keys() - {"labels"}
    for name, value in ours.items():
        torch.testing.assert_close(value, stock[name], msg=name)


def test_a_prefix_follows_the_generation_prompt(backbone):
    plain = prompt_text(backbone, CONVERSATIONS[0])
    assert prompt_text(backbone, CONVERSATIONS[0], prefix="<answer>") == plain + "<answer>"
    ids = prompt_inputs(backbone, CONVERSATIONS[:1], prefix="<answer>")["input_ids"][0].tolist()
    assert backbone.tokenizer.decode(ids).endswith(backbone.tokenizer.decode(backbone.tokenizer.encode("<answer>")))


def test_system_and_prefix_reach_the_model(backbone, monkeypatch):
    seen = []

    def generate(self, input_ids, **_):
        seen.append(backbone.tokenizer.decode(input_ids[0]))
        return torch.cat([input_ids, input_ids[:, :1]], dim=1)

    monkeypatch.setattr(type(backbone.model), "generate", generate)
    image = LazyImage(pixels=picture(32))
    item = MultipleChoice(id="a", images=(image,), prompt="red or blue ?", options=("red", "blue"), answer=0)
    for options in ({}, {"system": "red", "prefix": "blue"}):
        answers_by_scoring(backbone, [item], scorings=["free"], **options)
    assert seen[1] != seen[0]
    assert seen[1].rstrip().endswith("blue")
    assert seen[1].count("red") == seen[0].count("red") + 1


def test_no_images(backbone):
    assert "pixel_values" not in prompt_inputs(backbone, [[user_turn("red ?", [])]])
