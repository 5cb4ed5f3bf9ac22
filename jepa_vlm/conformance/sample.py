"""Trajectories that a check runs on: images before, between and after words, none to two tool calls."""

from __future__ import annotations

import torch
from PIL import Image

from jepa_vlm.trajectories import LazyImage, Step, ToolCall, Trajectory

SIZES = ((112, 112), (80, 48), (40, 96), (60, 60), (33, 70))


def sample_trajectories() -> list[Trajectory]:
    """Return three trajectories of seeded noise images and plain words."""
    generator = torch.Generator().manual_seed(0)
    images = [_noise(width, height, generator) for width, height in SIZES]
    box = ToolCall("crop", {"row": 1})
    return [
        Trajectory("two calls", (images[0],), "What color is the ring?", _steps(box, images[1:3]), answer="red"),
        Trajectory(
            "two images, one call",
            (images[3], images[4]),
            "Is this  like this? ",
            _steps(box, images[:1]),
            answer="B",
            image_places=(8, 20),
        ),
        Trajectory("no call", (images[1],), "How many rings are there?", (Step("two"),), answer="two"),
    ]


def _steps(call: ToolCall, images: list[LazyImage]) -> tuple[Step, ...]:
    looks = [
        Step(f"look at row {i}", call=call, image=image, observation="look left" if i else "")
        for i, image in enumerate(images)
    ]
    return (*looks, Step("it is red"))


def _noise(width: int, height: int, generator: torch.Generator) -> LazyImage:
    pixels = torch.randint(0, 256, (height, width, 3), generator=generator, dtype=torch.uint8)
    return LazyImage(pixels=Image.fromarray(pixels.numpy()))
