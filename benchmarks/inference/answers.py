"""The cost of an answer: plain generation, latent feedback and the tool loop on the same prompts, as one record.

Weights are random, so the answers are fixed beforehand: every way ends in an answer of the same length, and the
model is forced to choose its tokens. Each token takes the forward pass that it would take anyway.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, final

import torch
from PIL import Image
from torch import Tensor

from benchmarks.clocks import Spread, clock_of
from benchmarks.mixes import make_trajectories
from benchmarks.shapes import LATENT_END, LATENT_START, SHAPES, build_backbone
from benchmarks.step.settings import SuiteSettings
from jepa_vlm.adapters import Backbone
from jepa_vlm.cost import FlopCounter
from jepa_vlm.errors import JepaVLMError
from jepa_vlm.evaluation import commit, versions
from jepa_vlm.generation.answering import Latents
from jepa_vlm.generation.greedy import (
    Inputs,
    OpenQuestion,
    end_ids,
    generate,
    inference,
    prompt_inputs,
    question_turn,
)
from jepa_vlm.generation.latent_feedback import generate_latent
from jepa_vlm.generation.tool_loop import CLOSE, OPEN, ToolLoop, answer_with_tools
from jepa_vlm.runs.environment import machine
from jepa_vlm.serialization import Serializer
from jepa_vlm.trajectories import Box, Trajectory

SCHEMA = 1
TOOL = "crop"
Say = Callable[[str], None]


@final
@dataclass(frozen=True)
class Written:
    """What one way wrote for all prompts together.

    Args:
        tokens: Number of tokens of words and calls, end tokens included.
        latent_steps: Number of states that were fed back.
        calls: Number of tool calls.
    """

    tokens: int
    latent_steps: int = 0
    calls: int = 0


Way = Callable[[], Written]


def run_inference(
    settings: SuiteSettings,
    *,
    tokens: int = 32,
    latents: int = 8,
    command: Sequence[str] = (),
    note: str = "",
    say: Say = lambda _: None,
) -> dict[str, Any]:
    """Count and time answers and return the record, plain JSON values.

    Args:
        settings: Shape, mixes, examples, rounds, device, precision and seed; the rest is not used.
        tokens: Length of an answer's words, the end token included; calls come on top.
        latents: Latent steps of the one latent segment of ``lvr``.
        command: The command line, for the record.
        note: A remark for readers of the record.
        say: Receives lines of progress.

    Raises:
        JepaVLMError: If the device is meta, where no token can be chosen.
        ValueError: If ``tokens`` or ``latents`` is below 1.
    """
    if tokens < 1 or latents < 1:
        raise ValueError(f"tokens and latents must be at least 1, got {tokens} and {latents}.")
    device = settings.place
    if device.type == "meta":
        raise JepaVLMError("Answers are written token by token, and the meta device has no values; take cpu or cuda.")
    shape = SHAPES[settings.shape]
    backbone = build_backbone(shape, device=device, dtype=settings.precision, seed=settings.seed)
    serializer = Serializer(processor=backbone.processor, adapter=backbone.adapter)
    cases = []
    for mix in settings.chosen_mixes():
        say(f"{mix}, {settings.examples} prompts")
        trajectories = make_trajectories(
            mix, serializer=serializer, count=settings.examples, scale=shape.lengths, seed=settings.seed
        )
        ways = answer_ways(backbone, trajectories, tokens=tokens, latents=latents)
        found = measure(ways, device=device, rounds=settings.rounds, warmup=settings.warmup, count=settings.examples)
        cases.append({"mix": mix, "examples": settings.examples, "ways": found})
    return {
        "suite": "inference",
        "schema": SCHEMA,
        "machine": machine(device),
        "versions": versions(),
        "commit": commit(),
        "config": {**settings.recorded(), "tokens": tokens, "latents": latents},
        "calls": [{"command": list(command), "note": note}],
        "cases": cases,
    }


def answer_ways(backbone: Backbone, trajectories: Sequence[Trajectory], *, tokens: int, latents: int) -> dict[str, Way]:
    """Return the ways to answer the questions of some trajectories, by name.

    ``plain`` is how models of the recipes ``sft`` and ``pearl`` answer. ``lvr`` writes one latent segment before its
    words. ``tools`` makes the trajectory's own calls, each in a turn of its own, and then answers.

    Args:
        backbone: The model; its modes are restored.
        trajectories: The questions, asked as one batch.
        tokens: Length of an answer's words, the end token included.
        latents: Latent steps of a latent segment.
    """
    items = [OpenQuestion(one.id, one.images, one.question) for one in trajectories]
    end = end_ids(backbone)[0]
    words = [*[_tokens(backbone, "a")[0]] * (tokens - 1), end]
    turns = [[*([*_tokens(backbone, call), end] for call in _calls(one)), words] for one in trajectories]
    decoding = Latents(steps=latents, start=LATENT_START, end=LATENT_END)

    def prompts() -> Inputs:
        return prompt_inputs(backbone, [[question_turn(item)] for item in items])

    def plain() -> Written:
        with inference(backbone.model), backbone.precision():
            produced = _dictated(backbone, prompts(), [words] * len(items))
        return Written(produced.numel())

    def lvr() -> Written:
        with inference(backbone.model), backbone.precision():
            found = generate_latent(
                backbone, prompts(), tokens, decoding, lambda _, written, looked: [words[min(len(written), tokens - 1)]]
            )
        return Written(sum(len(one.ids) for one in found), sum(one.steps for one in found))

    def tools() -> Written:
        spoken = iter(range(max(map(len, turns))))

        def dictated(backbone: Backbone, inputs: Inputs, limit: int) -> Tensor:
            turn = next(spoken)
            return _dictated(backbone, inputs, [own[turn] for own in turns if turn < len(own)])

        loop = ToolLoop(tools={TOOL: _crop}, max_calls=max(map(len, turns)))
        found = answer_with_tools(backbone, items, loop, batch_size=len(items), produce=dictated)
        if failed := sum(one.use.failures for one in found):
            raise RuntimeError(
                f"{failed} tool calls of the suite failed; their answers are not what was to be measured."
            )
        return Written(sum(one.use.tokens for one in found), calls=sum(one.use.calls for one in found))

    return {"plain": plain, "lvr": lvr, "tools": tools}


def measure(
    ways: Mapping[str, Way], *, device: torch.device, rounds: int, warmup: int, count: int
) -> dict[str, dict[str, Any]]:
    """Count every way once, then time all ways in every round. Each round starts with another way.

    Args:
        ways: The ways to answer, by name.
        device: The device whose clock is read.
        rounds, warmup: Number of measured rounds, and of rounds before them.
        count: Answers of one call; all figures are divided by it.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, way in ways.items():
        with FlopCounter() as counter:
            written = way()
        found[name] = {
            **{part: value / count for part, value in asdict(written).items()},
            "flops": counter.total / count,
        }
    gauge, names = clock_of(device), list(ways)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-warmup, rounds):
        shift = number % len(names)
        for name in (*names[shift:], *names[:shift]):
            before = gauge.read()
            ways[name]()
            after = gauge.read()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if number >= 0:
                seconds[name].append(gauge.between(before, after) / count)
    return {name: {**one, "seconds": asdict(Spread.of(seconds[name]))} for name, one in found.items()}


def _dictated(backbone: Backbone, inputs: Inputs, rows: Sequence[Sequence[int]]) -> Tensor:
    """Generate with the model, which may choose at every position only the token that ``rows`` gives."""
    prompt, end = inputs["input_ids"].shape[1], end_ids(backbone)[0]

    def allowed(row: int, ids: Tensor) -> list[int]:
        at = len(ids) - prompt
        return [rows[row][at] if at < len(rows[row]) else end]

    return generate(backbone, inputs, max(map(len, rows)), allowed)


def _tokens(backbone: Backbone, text: str) -> list[int]:
    ids: list[int] = backbone.tokenizer.encode(text, add_special_tokens=False)
    return ids


def _calls(trajectory: Trajectory) -> list[str]:
    boxes = [step.call.box for step in trajectory.steps if step.call is not None and step.call.box is not None]
    edges = [[box.left, box.top, round(box.right, 3), round(box.bottom, 3)] for box in boxes]
    return [f"{OPEN}{json.dumps({'name': TOOL, 'arguments': {'bbox_2d': own}})}{CLOSE}" for own in edges]


def _crop(image: Image.Image, arguments: Mapping[str, Any]) -> Image.Image:
    left, top, right, bottom = arguments["bbox_2d"]
    return image.crop(Box(left, top, right, bottom, relative=True).in_pixels(*image.size))
