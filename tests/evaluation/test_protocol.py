from __future__ import annotations

from types import SimpleNamespace

import pytest

from jepa_vlm.evaluation import Protocol
from jepa_vlm.evaluation.protocol import protocol_for


@pytest.mark.parametrize(("scoring", "tokens"), [("letter-logits", 0), ("short", 4), ("free", 32)])
def test_tokens_are_those_of_the_scoring(scoring, tokens):
    processor = SimpleNamespace(
        image_processor=SimpleNamespace(size={"shortest_edge": 256, "longest_edge": 12544, "height": None})
    )
    protocol = protocol_for(processor, scoring, max_new_tokens=32)
    assert (protocol.max_new_tokens, protocol.min_pixels, protocol.max_pixels) == (tokens, 256, 12544)


def test_a_processor_without_a_budget():
    processor = SimpleNamespace(image_processor=SimpleNamespace(size={"height": 224, "width": 224}))
    assert protocol_for(processor, "short", max_new_tokens=1).max_pixels is None


def test_unknown_scoring():
    with pytest.raises(ValueError, match="scoring must be one of letter-logits, short, free; got 'guess'"):
        Protocol(scoring="guess", max_new_tokens=0)
    with pytest.raises(ValueError, match="max_new_tokens"):
        Protocol(scoring="free", max_new_tokens=-1)
