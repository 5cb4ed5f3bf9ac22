"""What answers cost, counted by hand: every token a forward pass, and the closed form of the tower and the decoder."""

from __future__ import annotations

import json

import pytest

from benchmarks.inference.answers import answer_ways, run_inference
from benchmarks.mixes import make_trajectories
from benchmarks.shapes import SHAPES, lora_rank
from benchmarks.step.closed_form import causal_pairs, decoder_forward, vision_forward
from benchmarks.step.settings import SuiteSettings
from jepa_vlm.cost import FlopCounter, Shape
from jepa_vlm.errors import JepaVLMError
from jepa_vlm.generation.greedy import prompt_inputs, user_turn

TOKENS, LATENTS = 5, 3


@pytest.fixture
def trajectories(serializer):
    return make_trajectories("pixelreasoner", serializer=serializer, count=2, scale=1 / 3)  # one call, and two


def closed_form(backbone, trajectory, forwards):
    """One prompt and one pass for each further token, of which the cache keeps the keys; logits for each."""
    shape = Shape.of(backbone.base.config, lora_rank=lora_rank(backbone))
    inputs = prompt_inputs(backbone, [[user_turn(trajectory.question, [i.load() for i in trajectory.images])]])
    length = inputs["input_ids"].shape[1] + forwards - 1
    tower = sum(vision_forward(shape.vision, tuple(grid)) for grid in inputs["image_grid_thw"].tolist())
    logits = 2 * shape.decoder.hidden * shape.decoder.vocab * forwards
    return tower + decoder_forward(shape, length, causal_pairs(length)) + logits


@pytest.mark.parametrize(
    ("way", "forwards"),
    [("plain", TOKENS), ("lvr", TOKENS + 1 + LATENTS + 2)],  # START, steps, END and the line's end
    ids=lambda value: str(value),
)
def test_an_answer_is_one_prompt_and_a_pass_for_each_token(way, forwards, backbone, trajectories):
    ways = answer_ways(backbone, trajectories[:1], tokens=TOKENS, latents=LATENTS)
    with FlopCounter() as counter:
        written = ways[way]()
    assert written.tokens == TOKENS
    assert written.latent_steps == (LATENTS if way == "lvr" else 0)
    assert counter.total == pytest.approx(closed_form(backbone, trajectories[0], forwards), rel=0.03)


@pytest.mark.slow
def test_tools_write_their_calls_on_top_and_read_everything_again(backbone, trajectories):
    ways = answer_ways(backbone, trajectories, tokens=TOKENS, latents=LATENTS)
    totals, found = {}, {}
    for name, way in ways.items():
        with FlopCounter() as counter:
            found[name] = way()
        totals[name] = counter.total
    assert found["plain"].tokens == found["lvr"].tokens == 2 * TOKENS
    assert found["tools"].calls == 1 + 2
    box = trajectories[0].steps[0].call.box
    edge = round(box.right, 3)
    call = f'<tool_call>{{"name": "crop", "arguments": {{"bbox_2d": [0, 0, {edge}, {edge}]}}}}</tool_call>'
    least = 3 * (len(backbone.tokenizer.encode(call, add_special_tokens=False)) - 8)
    assert found["tools"].tokens > 2 * TOKENS + least
    assert totals["plain"] < totals["lvr"] < totals["tools"]
    assert totals["tools"] > 2 * totals["plain"]  # two conversations over two and three prompts, each longer


@pytest.mark.slow
def test_the_record_is_json_per_answer():
    settings = SuiteSettings(mixes=("lvr",), examples=1, rounds=1, warmup=0, device="cpu")
    record = run_inference(settings, tokens=TOKENS, latents=LATENTS, command=["x"])
    assert json.loads(json.dumps(record)) == record
    assert record["suite"] == "inference"
    assert record["config"]["shape"] in SHAPES
    assert {"machine", "versions", "commit"} <= record.keys()
    ways = record["cases"][0]["ways"]
    assert {name: (one["tokens"], one["latent_steps"]) for name, one in ways.items() if name != "tools"} == {
        "plain": (TOKENS, 0),
        "lvr": (TOKENS, LATENTS),
    }
    assert ways["tools"]["calls"] == 1
    assert all(one["seconds"]["n"] == 1 for one in ways.values())


def test_what_cannot_be_is_refused():
    with pytest.raises(JepaVLMError, match="the meta device has no values"):
        run_inference(SuiteSettings(device="meta"))
    with pytest.raises(ValueError, match="must be at least 1, got 0 and 8"):
        run_inference(SuiteSettings(device="cpu"), tokens=0)
