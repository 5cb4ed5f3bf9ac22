"""What the families answer without weights: tokens, positions, budgets, templates."""

from __future__ import annotations

import pickle
from functools import lru_cache

import pytest
import torch
from PIL import Image

import jepa_vlm as jv
from jepa_vlm.adapters.grid import GridAdapter
from jepa_vlm.adapters.tiny import TINY
from jepa_vlm.errors import BackboneError
from jepa_vlm.serialization import Serializer
from jepa_vlm.views import Conversation, Request, TrajectoryOnly
from tests.factories import families, random_trajectory

SIZES = ((112, 112), (17, 80), (200, 31), (300, 300), (1, 1))
FIXED = {"tiny-random-llava": 16, "tiny-random-gemma3": 4, "tiny-random-paligemma": 16}
BUDGETS = {
    "tiny-random-qwen2.5-vl": 16,
    "tiny-random-qwen2-vl": 16,
    "tiny-random-qwen3-vl": 16,
    "tiny-random-qwen3-vl-moe": 16,
    "tiny-random-qwen3.5": 16,
    "tiny-random-glm-4v": 16,
    "tiny-random-llava-next": 16,
    "tiny-random-llava-onevision": 16,
    "tiny-random-internvl": 8,
    "tiny-random-aya-vision": 8,
    "tiny-random-idefics3": 8,
    "tiny-random-smolvlm": 8,
    "tiny-random-mistral3": 16,
    "tiny-random-pixtral": 16,
    "tiny-random-lfm2-vl": 8,
    **FIXED,
}


@lru_cache(maxsize=1)
def family(name: str) -> jv.Backbone:
    return jv.load_backbone(name)


@pytest.mark.parametrize("name", families())
def test_an_image_has_as_many_features_as_tokens_whatever_its_size(name):
    backbone = family(name)
    adapter, processor = backbone.adapter, backbone.processor
    for together in (1, 3):
        sizes = [size for size in SIZES if size != (1, 1) or not isinstance(adapter, GridAdapter)]
        made = [adapter.process_image(processor, Image.new("RGB", size, "red"), together=together) for size in sizes]
        written = [adapter.image_tokens(processor, *size, together=together) for size in sizes]
        for image, tokens in zip(made, written, strict=True):
            with torch.no_grad():
                assert len(adapter.encode_images(backbone.base, adapter.collate_images([image]))) == tokens.length


@pytest.mark.parametrize("name", families(BUDGETS))
def test_a_budget_of_visual_tokens_is_kept(name):
    budget = BUDGETS[name]
    backbone = jv.load_backbone(name, visual_tokens=budget)
    for size in ((112, 112), (60, 200), (2000, 1000)):
        image = Image.new("RGB", size)
        tokens = backbone.adapter.image_tokens(backbone.processor, *size)
        assert tokens.length <= budget
        made = backbone.adapter.process_image(backbone.processor, image)
        with torch.no_grad():
            features = backbone.adapter.encode_images(backbone.base, backbone.adapter.collate_images([made]))
        assert len(features) == tokens.length  # model and processor agree on the limit
    if name not in FIXED:
        free = jv.load_backbone(name)
        assert free.adapter.image_tokens(free.processor, 900, 900).length > budget  # the limit was needed


@pytest.mark.parametrize("name", [*FIXED, "tiny-random-internvl", "tiny-random-idefics3", "tiny-random-mllama"])
def test_a_budget_below_what_every_image_takes_is_refused(name):
    with pytest.raises(BackboneError, match="visual_tokens"):
        jv.load_backbone(name, visual_tokens=1)


@pytest.mark.parametrize("name", families(["tiny-random-lfm2-vl"]))
@pytest.mark.parametrize(("budget", "most"), [(80, 80), (47, 16), (48, 48)])
def test_a_budget_allows_as_many_tiles_as_fit_with_the_whole_image(name, budget, most):
    """A tile takes 16 tokens, the whole image up to 16, and there are two tiles at least."""
    backbone = jv.load_backbone(name, visual_tokens=budget)
    assert backbone.adapter.image_tokens(backbone.processor, 900, 900).length <= budget
    lengths = [backbone.adapter.image_tokens(backbone.processor, *size).length for size in ((900, 900), (900, 300))]
    assert max(lengths) == most


@pytest.mark.parametrize("name", [name for name, tiny in TINY.items() if tiny.torchvision])
def test_a_family_that_needs_torchvision_states_so(name, monkeypatch):
    monkeypatch.setattr("jepa_vlm.adapters.processors.torchvision_works", lambda: False)
    with pytest.raises(BackboneError, match="needs torchvision, which is not installed"):
        jv.load_backbone(name)


def test_no_grid_of_tiles_within_the_budget_is_refused():
    with pytest.raises(BackboneError, match="No grid of tiles"):
        jv.load_backbone("tiny-random-llava-next", visual_tokens=3)


@pytest.mark.parametrize("name", [n for n in TINY if "qwen" in n or "glm" in n])
def test_position_ids_are_those_of_the_stock_model(name):
    backbone = family(name)
    serializer = Serializer(processor=backbone.processor, adapter=backbone.adapter)
    trajectory = random_trajectory(torch.Generator().manual_seed(2), "x", calls=2)
    (view,) = serializer.views(trajectory, [Request(Conversation())])
    images = [image.load() for image in trajectory.all_images]
    stock = backbone.processor(text=[view.text], images=images, return_tensors="pt")
    expected, _ = backbone.base.base_model.get_rope_index(
        stock["input_ids"], stock["mm_token_type_ids"], image_grid_thw=stock["image_grid_thw"]
    )
    assert torch.equal(view.positions, expected[-3:, 0])


GOLDEN = {
    "tiny-random-qwen3-vl": ("<|im_start|>user\n", "<|im_start|>assistant\nB<|im_end|>\n"),
    "tiny-random-gemma3": ("<bos><start_of_turn>user\n", "<start_of_turn>model\nB<end_of_turn>\n"),
    "tiny-random-llava": ("USER: <image>\n", "ASSISTANT: B</s>"),
    "tiny-random-llava-next": ("<s>[INST] <image>\n", "B</s>"),
    "tiny-random-glm-4v": ("[gMASK]<sop><|user|>\n", "<|assistant|>\nB<|endoftext|>"),
    "tiny-random-paligemma": ("<image><bos>", "B<eos>"),
    "tiny-random-smolvlm": ("<|im_start|>User:<image>", "Assistant: B<end_of_utterance>\n"),
    "tiny-random-mllama": ("<|begin_of_text|><|start_header_id|>user", "B<|eot_id|>"),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_templates_without_a_system_turn_and_without_an_end_of_turn(name):
    backbone = family(name)
    serializer = Serializer(processor=backbone.processor, adapter=backbone.adapter)
    image = jv.LazyImage(pixels=Image.new("RGB", (48, 32)))
    trajectory = jv.Trajectory("golden", (image,), "What?", (jv.Step("B"),), answer="B")
    whole, cut = serializer.views(trajectory, [Request(view) for view in (Conversation(), TrajectoryOnly())])
    opening, closing = GOLDEN[name]
    assert whole.text.startswith(opening)
    assert cut.text.lstrip() == closing.removeprefix("<|start_header_id|>") or cut.text.endswith(closing)
    trained = backbone.tokenizer.decode(whole.labels[whole.labels >= 0])
    assert trained.strip().startswith("B")
    assert trained.strip() != "B"  # it learns to stop


def test_tied_and_untied_heads_are_both_there():
    bases = {name: family(name).base for name in ("tiny-random-qwen3-vl", "tiny-random-qwen3-vl-moe")}
    tied = [b.get_input_embeddings().weight is b.get_output_embeddings().weight for b in bases.values()]
    assert tied == [True, False]


def test_extra_keys_of_a_processor_are_left_out():
    """PaliGemma's returns labels, Gemma 3's the number of crops: the tower reads neither."""
    for name in ("tiny-random-paligemma", "tiny-random-gemma3"):
        backbone = family(name)
        made = backbone.adapter.process_image(backbone.processor, Image.new("RGB", (40, 40)))
        assert set(made) == {"pixel_values"}


@pytest.mark.parametrize("name", families())
def test_a_worker_makes_the_same_batch(name):
    """Collators are sent to processes, adapter and processor with them."""
    backbone = family(name)
    serializer = Serializer(processor=backbone.processor, adapter=backbone.adapter)
    again = pickle.loads(pickle.dumps(serializer))
    trajectory = random_trajectory(torch.Generator().manual_seed(4), "x", calls=1)
    encodings = [Request(TrajectoryOnly())]
    one, two = (each.views(trajectory, encodings)[0] for each in (serializer, again))
    assert torch.equal(one.input_ids, two.input_ids)
    image = trajectory.images[0].load()
    sent, own = (each.adapter.process_image(each.processor, image) for each in (again, serializer))
    assert all(torch.equal(sent[key], own[key]) for key in own)
