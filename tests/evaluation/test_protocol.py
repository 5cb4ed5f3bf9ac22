from __future__ import annotations

from types import SimpleNamespace

import pytest
from PIL import Image

from jepa_vlm.adapters import load_backbone
from jepa_vlm.errors import BackboneError
from jepa_vlm.evaluation import Protocol, load_protocol
from jepa_vlm.evaluation.protocol import pixel_budget, protocol_for


@pytest.mark.parametrize(("scoring", "tokens"), [("letter-logits", 0), ("short", 4), ("free", 32)])
def test_tokens_are_those_of_the_scoring(scoring, tokens):
    processor = SimpleNamespace(
        image_processor=SimpleNamespace(size={"shortest_edge": 256, "longest_edge": 12544, "height": None})
    )
    protocol = protocol_for(processor, scoring)
    assert (protocol.max_new_tokens, protocol.min_pixels, protocol.max_pixels) == (tokens, 256, 12544)


def test_a_processor_without_a_budget():
    processor = SimpleNamespace(image_processor=SimpleNamespace(size={"height": 224, "width": 224}))
    assert protocol_for(processor, "short").max_pixels is None


def test_unknown_scoring():
    with pytest.raises(ValueError, match="scoring must be one of letter-logits, short, free, tools; got 'guess'"):
        Protocol(scoring="guess", max_new_tokens=0)
    with pytest.raises(ValueError, match="max_new_tokens"):
        Protocol(scoring="free", max_new_tokens=-1)


def test_a_named_protocol_is_recorded_with_what_it_sets():
    processor = SimpleNamespace(image_processor=SimpleNamespace(size={"shortest_edge": 256, "longest_edge": 12544}))
    rules = load_protocol("lmms-eval", benchmark="blink")
    recorded = protocol_for(processor, "free", rules=rules)
    assert (recorded.name, recorded.max_new_tokens) == ("lmms-eval-1", 1024)
    assert (recorded.min_pixels, recorded.max_pixels) == (200_704, 1_605_632)
    assert recorded.system == "You are a helpful assistant."
    own = protocol_for(processor, "short", rules=load_protocol("pearl-paper", benchmark="vstar"))
    assert (own.name, own.max_new_tokens, own.max_pixels) == ("pearl-paper-1", 4, 12544)


def test_a_pixel_budget_holds_inside_the_block_alone():
    image_processor = SimpleNamespace(size={"shortest_edge": 1, "longest_edge": 2})
    with pixel_budget(image_processor, (3, 4)):
        assert image_processor.size == {"shortest_edge": 3, "longest_edge": 4}
    assert image_processor.size == {"shortest_edge": 1, "longest_edge": 2}
    with pixel_budget(image_processor, None):
        assert image_processor.size == {"shortest_edge": 1, "longest_edge": 2}


def test_a_processor_that_has_no_pixel_budget_cannot_keep_one():
    image_processor = SimpleNamespace(size={"height": 224, "width": 224})
    refused = pytest.raises(BackboneError, match=r"200 to 400 pixels, .* has no pixel budget")
    with refused, pixel_budget(image_processor, (200, 400)):
        pass


def test_images_are_read_under_the_budget():
    """16 x 16 pixels a token: 32 x 32 pixels are scaled up to at least 64 tokens, 1,024 x 64 down to at most 100."""
    processor = load_backbone("tiny-random-qwen2.5-vl", seed=0).processor.image_processor
    images = [Image.new("RGB", (32, 32)), Image.new("RGB", (1024, 64))]

    def tokens() -> list[int]:
        return [int(grid.prod()) // 4 for grid in processor(images=images, return_tensors="pt")["image_grid_thw"]]

    own = tokens()
    assert own == [4, 168]  # whole tokens of a 16 : 1 picture, at most 196
    with pixel_budget(processor, (64 * 256, 100 * 256)):
        assert tokens()[0] == 64
        assert 64 <= tokens()[1] <= 100
    assert tokens() == own
