"""A trajectory with the pads of a ``PaddedConversation`` in its texts."""

from __future__ import annotations

from dataclasses import replace

from jepa_vlm.trajectories import Step, Trajectory
from jepa_vlm.trajectories.trajectory import IMAGE
from jepa_vlm.views import AheadOfReasoning, AsAnswer, BehindImages, PaddedConversation


def padded_turn(trajectory: Trajectory, view: PaddedConversation) -> Trajectory:
    """Return the trajectory as a view shows it."""
    if view.turns == "last":
        trajectory = replace(trajectory, steps=trajectory.steps[-1:])
    text, place = view.written(view.chosen(trajectory.id)), view.place
    if not text:
        return trajectory
    if isinstance(place, BehindImages):
        before, image, words = trajectory.question.strip().rpartition(IMAGE)
        return replace(trajectory, question=before + image + text + words)
    if isinstance(place, AsAnswer):
        return replace(trajectory, question=place.question, steps=(Step(text),))
    if not isinstance(place, AheadOfReasoning):
        raise TypeError(f"Cannot serialise {place!r}.")
    first, *others = trajectory.steps
    opened = Step(text + first.spoken.strip(), image=first.image, observation=first.observation)
    return replace(trajectory, steps=(opened, *others))
