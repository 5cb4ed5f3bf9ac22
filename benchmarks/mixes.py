"""Synthetic trajectories of the lengths that real data sets have, exact to the token and seeded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from PIL import Image

from benchmarks.shapes import SIDE
from jepa_vlm import playground
from jepa_vlm.registry import Registry
from jepa_vlm.serialization import Serializer
from jepa_vlm.trajectories import Box, LazyImage, Step, ToolCall, Trajectory
from jepa_vlm.views import Question, Request, TrajectoryOnly

SPREAD = 0.25  # lengths lie within this share of their mean, evenly


@final
@dataclass(frozen=True, kw_only=True)
class Mix:
    """Lengths of one kind of data, on average.

    Args:
        context: Tokens of the question view, image included.
        trajectory: Tokens of the trajectory view, tool images included.
        seen: Share of the context that is the image.
        shown: Share of the trajectory that is tool images.
        calls: Least and most tool images of one example.
    """

    context: int
    trajectory: int
    seen: float
    shown: float
    calls: tuple[int, int]


MIXES: Registry[Mix] = Registry("length mix")
MIXES.register("lvr")(Mix(context=395, trajectory=158, seen=0.8, shown=0.5, calls=(1, 1)))
MIXES.register("pixelreasoner")(Mix(context=854, trajectory=506, seen=0.9, shown=0.4, calls=(1, 3)))
MIXES.register("thinkmorph")(Mix(context=403, trajectory=503, seen=0.8, shown=0.63, calls=(1, 1)))


def make_trajectories(
    name: str, *, serializer: Serializer, count: int, scale: float = 1.0, seed: int = 0
) -> list[Trajectory]:
    """Return ``count`` trajectories whose lengths are exactly the mix's on average, rounded to tokens.

    Args:
        name: A name of ``MIXES``.
        serializer: Counts the tokens.
        count: Number of trajectories.
        scale: Factor on the mix's lengths.
        seed: Random seed of the order of lengths, the words and the pictures.

    Raises:
        UnknownNameError: If no mix has this name.
        ValueError: If ``count`` is below 1, or the lengths are too short for the chat template.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}.")
    mix, generator = MIXES[name], torch.Generator().manual_seed(seed)
    contexts, rests = (_lengths(scale * mean, count, generator) for mean in (mix.context, mix.trajectory))
    low, high = mix.calls
    return [
        _trajectory(f"{name}-{i}", mix, serializer, context, rest, low + i % (high - low + 1), generator)
        for i, (context, rest) in enumerate(zip(contexts, rests, strict=True))
    ]


def view_lengths(serializer: Serializer, trajectory: Trajectory) -> tuple[int, int]:
    """Return the tokens of the question view without slots and of the trajectory view."""
    views = [Request(view) for view in (Question(), TrajectoryOnly())]
    question, rest = serializer.views(trajectory, views)
    return len(question), len(rest)


def _lengths(mean: float, count: int, generator: torch.Generator) -> list[int]:
    """Return lengths spread evenly around a mean, in random order; rounding errors carry over, so the sum is exact."""
    factors = [1 + SPREAD * ((2 * i + 1) / count - 1) for i in range(count)]
    ends = [round(mean * sum(factors[: i + 1])) for i in range(count)]
    lengths = [end - start for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    return [lengths[i] for i in torch.randperm(count, generator=generator).tolist()]


def _trajectory(
    identity: str,
    mix: Mix,
    serializer: Serializer,
    context: int,
    rest: int,
    calls: int,
    generator: torch.Generator,
) -> Trajectory:
    image = _image(mix.seen * context, generator)
    tools = [_image(mix.shown * rest / calls, generator) for _ in range(calls)]
    made_calls = [ToolCall("crop", box=_box(tool, image), written="") for tool in tools]
    turns = [Step(_words(1, generator), call, tool) for call, tool in zip(made_calls, tools, strict=True)]
    turns.append(Step(_words(1, generator)))
    bare = Trajectory(identity, (image,), _words(1, generator), tuple(turns), answer="A")
    question, spoken = view_lengths(serializer, bare)
    if question > context or spoken > rest:
        raise ValueError(
            f"{identity} is to have {context} + {rest} tokens, but template and images alone take {question} + "
            f"{spoken}; use a larger scale."
        )
    more = [(rest - spoken) // (calls + 1)] * calls
    steps = [replace(step, text=_words(1 + n, generator)) for step, n in zip(bare.steps, more, strict=False)]
    last = replace(bare.steps[-1], text=_words(1 + rest - spoken - sum(more), generator))
    made = replace(bare, question=_words(1 + context - question, generator), steps=(*steps, last))
    if view_lengths(serializer, made) != (context, rest):
        raise RuntimeError(f"{identity} came out with {view_lengths(serializer, made)} tokens, not {context, rest}.")
    return made


def _words(count: int, generator: torch.Generator) -> str:
    """Return words of which each is one token."""
    known = _plain_words()
    return " ".join(known[i] for i in torch.randint(len(known), (count,), generator=generator).tolist())


def _plain_words() -> Sequence[str]:
    return [word for word in playground.words() if word.isalpha()]


def _image(tokens: float, generator: torch.Generator) -> LazyImage:
    """Return a picture of noise, nearly square, of about this many visual tokens."""
    rows = max(1, round(math.sqrt(tokens)))
    columns = max(1, math.floor(tokens / rows))
    size = (rows * SIDE, columns * SIDE, 3)
    pixels = torch.randint(0, 256, size, generator=generator, dtype=torch.uint8).numpy()
    return LazyImage(pixels=Image.fromarray(pixels))


def _box(tool: LazyImage, image: LazyImage) -> Box:
    """Return a region, from the image's corner on, that has about as many visual tokens as a tool picture."""
    (wide, high), (columns, rows) = tool.size, image.size
    side = min(1.0, math.sqrt(wide * high / (columns * rows)))
    return Box(0, 0, side, side, relative=True)
