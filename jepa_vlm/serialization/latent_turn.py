"""A trajectory with latent slots in the place of its tools: one assistant turn, and what each slot stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from jepa_vlm.adapters import ImageTokens
from jepa_vlm.adapters.image_tokens import region_rows
from jepa_vlm.errors import DataError
from jepa_vlm.trajectories import Step, Trajectory
from jepa_vlm.views import LatentConversation, PictureFeatures, PooledFeatures, RegionFeatures, SlotContent, Thoughts

Place = tuple[int, Sequence[int]]  # an image, counted over ``all_images``, and rows of its features


@final
@dataclass(frozen=True)
class Look:
    """The slots between one START and its END.

    Args:
        count: How many.
        targets: What each of them stands for: the mean of these features. Empty where slots have no target.
    """

    count: int
    targets: tuple[Place, ...] = ()


@final
@dataclass(frozen=True)
class LatentTurn:
    """A trajectory as its one assistant turn is rendered, and its looks.

    Args:
        trajectory: Without tools; ``start`` and ``end`` stand in its one step's text, side by side for each look.
        looks: In order.
    """

    trajectory: Trajectory
    looks: tuple[Look, ...]

    @property
    def sources(self) -> Tensor:
        """What slots stand for, ("features 3"): the number of the slot, an image, a row of the image's features."""
        targets = [target for look in self.looks for target in look.targets]
        rows = [(number, image, row) for number, (image, own) in enumerate(targets) for row in own]
        return torch.tensor(rows, dtype=torch.long).reshape(-1, 3)


def latent_turn(trajectory: Trajectory, view: LatentConversation, images: Sequence[ImageTokens]) -> LatentTurn:
    """Return the turn that a view shows of a trajectory.

    Args:
        trajectory: The example; one without tools has no looks.
        view: Which slots, between which tokens.
        images: The tokens of each of its images.

    Raises:
        DataError: If a look has nothing for its slots to stand for: no box, or one of an image that is not there yet.
        BackboneError: If the family's visual tokens cannot be located.
    """
    written: list[tuple[str, Look | None]] = []
    if isinstance(view.slots, Thoughts):
        written.append(("", Look(view.slots.steps * view.slots.each)))
        replaced = trajectory.calls if view.slots.words == "answer" else min(view.slots.steps, trajectory.calls)
        written += [(step.text.strip(), None) for step in trajectory.steps[replaced:]]
    else:
        picture = len(trajectory.images)
        for number, step in enumerate(trajectory.steps, start=1):
            look = None
            if step.image is not None:
                look = _look(trajectory, number, step, view.slots, picture, images)
                picture += 1
            written.append((step.text.strip(), look))
    text, between = "", ""
    for said, look in written:
        text += (between if said else "") + said
        between = " " if text else ""
        if look is not None:
            text, between = text + view.start + view.end + view.after, ""
    plain = replace(trajectory, steps=(Step(text.strip()),))
    return LatentTurn(plain, tuple(look for _, look in written if look is not None))


def _look(
    trajectory: Trajectory,
    number: int,
    step: Step,
    slots: SlotContent,
    picture: int,
    images: Sequence[ImageTokens],
) -> Look:
    where = f"Trajectory {trajectory.id!r}: step {number}"
    length = images[picture].length
    if isinstance(slots, PooledFeatures):
        run = length // slots.chunks
        if not run:
            raise DataError(f"{where} has a picture of {length} tokens, too few for {slots.chunks} chunks.", "picture")
        return _look_at([(picture, range(at * run, (at + 1) * run)) for at in range(slots.chunks)])
    if isinstance(slots, PictureFeatures):
        return _look_at([(picture, (row,)) for row in range(length)])
    if not isinstance(slots, RegionFeatures):
        raise TypeError(f"Cannot serialise {slots!r}.")
    if step.call is None or step.call.box is None:
        raise DataError(
            f"{where} looks at a picture, but has no box: its slots stand for the region of the image that a call "
            "looked at. Take data whose calls have boxes, or reconstruct whole pictures: recipe mirage.",
            "box",
        )
    image = step.call.image
    if not 0 <= image < picture:
        raise DataError(
            f"{where} calls a tool on image {image}, counted from 0, but only {picture} images come before the tool's "
            "own; correct the call's image.",
            "box",
        )
    try:
        rows = region_rows(step.call.box, trajectory.all_images[image].size, images[image])
    except DataError as err:
        raise err.at(where) from None
    return _look_at([(image, (row,)) for row in rows])


def _look_at(targets: Sequence[Place]) -> Look:
    return Look(len(targets), tuple(targets))
