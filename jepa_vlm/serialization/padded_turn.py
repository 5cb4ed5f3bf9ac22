"""A trajectory with the pads of a ``PaddedConversation`` in its texts."""

from __future__ import annotations

from dataclasses import replace

from jepa_vlm.trajectories import Step, Trajectory
from jepa_vlm.views import AheadOfReasoning, AsAnswer, BehindImages, PaddedConversation


def padded_turn(trajectory: Trajectory, view: PaddedConversation) -> Trajectory:
    """Return the trajectory as a view shows it."""
    if view.turns == "last":
        trajectory = replace(trajectory, steps=trajectory.steps[-1:])
    text, place = view.written(view.chosen(trajectory.id)), view.place
    if not text:
        return trajectory
    if isinstance(place, BehindImages):
        places = trajectory.image_places
        words, at = (trajectory.question, places[-1]) if places else (trajectory.question.strip(), 0)
        return replace(trajectory, question=words[:at] + text + words[at:])
    if isinstance(place, AsAnswer):
        return replace(trajectory, question=place.question, image_places=(), steps=(Step(text),))
    if not isinstance(place, AheadOfReasoning):
        raise TypeError(f"Cannot serialise {place!r}.")
    first, *others = trajectory.steps
    opened = replace(first, text=text + first.spoken.strip(), call=None)
    return replace(trajectory, steps=(opened, *others))
