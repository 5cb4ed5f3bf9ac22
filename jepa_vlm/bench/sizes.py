"""How long examples are, for the closed form: read off their views, not off the plan that is to be measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from jepa_vlm.cost import ExampleSize
from jepa_vlm.latent_vlm import LatentVLM
from jepa_vlm.trajectories import Trajectory
from jepa_vlm.views import IGNORED

CONVERSATIONS = ("conversation", "latent_conversation")  # the views that hold what the head is asked to predict


def example_sizes(model: LatentVLM, trajectories: Sequence[Trajectory], *, horizon: int = 0) -> list[ExampleSize]:
    """Return the sizes of the examples under an objective of terms on tokens, latents and next latents.

    Args:
        model: Whose views are counted.
        trajectories: The examples.
        horizon: Of the next-latent term; 0 if there is none.
    """
    serializer = model.collator().serializer
    sizes, states = [], 0
    for trajectory in trajectories:
        views = model.serialize(trajectory)
        conversation = next(views[name] for name in CONVERSATIONS if name in views)
        encoded = {number for view in views.values() for number in view.needed_images}
        supervised = conversation.labels != IGNORED
        # The state that predicts a token stands one before it; the next-latent term reads T's own.
        tokens = _last(conversation.trajectory if horizon else supervised.roll(-1)) + 1
        context = int(views["question"].slots.nonzero()[0]) if "question" in views else 0
        states += int(conversation.trajectory.sum())
        images = [image for number, image in enumerate(serializer.images(trajectory)) if number in encoded]
        sizes.append(
            ExampleSize(
                context=context,
                rest=tokens - context,
                supervised=int(supervised.sum()),
                trajectory=_last(views["trajectory"].content) + 1 if "trajectory" in views else 0,
                grids=tuple((1, image.grid[1], image.grid[2]) for image in images),
            )
        )
    # The next-latent head runs over all examples' states at once, one row less for each step ahead.
    pairs = sum(states - ahead for ahead in range(1, horizon + 1))
    return [replace(sizes[0], next_pairs=pairs), *sizes[1:]]


def _last(mask: Tensor) -> int:
    return int(mask.nonzero()[-1])
