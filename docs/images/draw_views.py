"""Draw a trajectory of the playground and its views: python docs/images/draw_views.py, from the project's root."""

from __future__ import annotations

import textwrap
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

import jepa_vlm as jv

READ, TRAINED, PRED, TARGET = "#d9d9d9", "#9ecae1", "#fdae6b", "#a1d99b"
IMAGE = Path(__file__).with_name("views.svg")


def draw(trajectory: jv.Trajectory) -> Figure:
    """Return the figure: the turns of the trajectory above, its views below."""
    figure = Figure(figsize=(9.6, 4.2), layout="none")
    turns = [("user: image and question", trajectory.images[0], trajectory.question, READ)]
    for step in trajectory.steps:
        turns.append(("assistant: reasoning", None, step.spoken, TRAINED))
        if step.image is not None:
            turns.append(("the tool's image", step.image, "", READ))
    width = 1 / len(turns)
    for number, (title, image, text, colour) in enumerate(turns):
        axes = figure.add_axes((number * width + 0.004, 0.52, width - 0.008, 0.46))
        axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=[])
        axes.add_patch(Rectangle((0, 0.9), 1, 0.1, color=colour, lw=0))
        axes.text(0.03, 0.95, title, fontsize=7, va="center")
        if image is not None:
            shown = axes.inset_axes((0.15, 0.42, 0.7, 0.46))
            shown.imshow(image.load())
            shown.axis("off")
        lines = textwrap.wrap(text, 24)[: 6 if image else 13]
        axes.text(0.04, 0.38 if image else 0.86, "\n".join(lines), fontsize=6.2, va="top", family="monospace")
    axes = figure.add_axes((0, 0, 1, 0.48))
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.axis("off")
    left, question, rest = 0.19, 0.2, 0.55
    bars = (
        (
            0.78,
            "conversation",
            [(question, READ, "image, question"), (rest, TRAINED, "trajectory T: trained token by token")],
        ),
        (0.48, "question", [(question, READ, "image, question"), (0.1, PRED, "[PRED] x 4")]),
        (0.18, "trajectory", [(rest, TARGET, "trajectory T by itself, without gradient")]),
    )
    for height, name, parts in bars:
        axes.text(0.01, height + 0.07, name, fontsize=9, va="center", weight="bold")
        at = left + (question if name == "trajectory" else 0)
        for size, colour, label in parts:
            axes.add_patch(Rectangle((at, height), size - 0.003, 0.14, color=colour, lw=0))
            axes.text(at + size / 2, height + 0.07, label, fontsize=7.5, ha="center", va="center")
            at += size
    start, end = (left + question + 0.1, 0.55), (left + question + rest - 0.004, 0.33)
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=12, connectionstyle="arc3,rad=-0.2"))
    axes.text(0.56, 0.46, "predict the last state of T", fontsize=8)
    axes.text(0.56, 0.71, "next token, and next latent from state to state", fontsize=8)
    return figure


if __name__ == "__main__":
    mpl.rcParams["svg.hashsalt"] = "views"  # the same file every time
    found = jv.playground.trajectories("sequential-crops", count=20, seed=0)
    chosen = next(one for one in found if one.calls == 2)
    draw(chosen).savefig(IMAGE, metadata={"Date": None})
