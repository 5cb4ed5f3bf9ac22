"""The FLOPs of an exact training step in closed form: the bound that the running code is compared with.

2 FLOPs per multiply-add, matrix-like work only. A frozen weight costs its product in the forward pass and the gradient
of its input in the backward pass; a trained weight costs its own gradient as well. Attention costs two products per
(query, key) pair forward and four backward. The vision tower is frozen, so it runs forward once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import final

from torch import Tensor

from benchmarks.shapes import lora_rank
from benchmarks.step.variants import lvr_objective, pearl_objective
from jepa_vlm.adapters import Backbone
from jepa_vlm.cost.memory_estimate import Shape, VisionShape
from jepa_vlm.latent_vlm import LatentVLM
from jepa_vlm.objectives import NextToken
from jepa_vlm.trajectories import Trajectory
from jepa_vlm.views import IGNORED

Grid = tuple[int, int, int]
_FED = ("q_proj", "k_proj", "v_proj")  # read a layer's input


@final
@dataclass(frozen=True)
class ExampleSize:
    """How long one example is.

    Args:
        context: Tokens of the conversation up to the last content token of the question, vision tokens included.
        rest: Tokens of the conversation after that.
        supervised: Tokens that the head is asked to predict.
        trajectory: Tokens of the target view; 0 if there is none.
        next_pairs: Predictions (t, i) of the next-latent regularizer.
        grids: Frames, rows and columns of patches of each image (``image_grid_thw``).
    """

    context: int
    rest: int
    supervised: int
    trajectory: int = 0
    next_pairs: int = 0
    grids: tuple[Grid, ...] = ()


@final
@dataclass(frozen=True)
class StepFlops:
    """FLOPs of one step, forward and backward, by part."""

    vision: int = 0
    conversation: int = 0
    slots: int = 0
    target: int = 0
    head: int = 0
    next_latent: int = 0

    @property
    def total(self) -> int:
        """The sum of all parts."""
        return sum(getattr(self, part.name) for part in fields(self))


def decoder_forward(shape: Shape, tokens: int, pairs: int) -> int:
    """Return the FLOPs of ``tokens`` through all layers, of which attention scores ``pairs`` (query, key) pairs."""
    base, adapters = _weights(shape)
    return shape.decoder.layers * (2 * (base + adapters) * tokens + 2 * _scores(shape, pairs))


def decoder_backward(shape: Shape, tokens: int, pairs: int, *, input_gradient: bool) -> int:
    """Return the FLOPs of going back through all layers.

    Args:
        input_gradient: Whether what the decoder is fed needs gradient, as with learned slots in the row. If not, the
            first layer's query, key and value projections stop at their own weights.
    """
    base, adapters = _weights(shape)
    trained = 2 * base if shape.full else 0
    flops = shape.decoder.layers * ((2 * base + trained + 4 * adapters) * tokens + 4 * _scores(shape, pairs))
    if input_gradient:
        return flops
    fed = {name: size for name, size in shape.decoder.projections().items() if name in _FED}
    unneeded = sum(inputs * outputs for inputs, outputs in fed.values())
    unneeded += sum(shape.lora_rank * inputs for name, (inputs, _) in fed.items() if name in shape.lora_modules)
    return flops - 2 * unneeded * tokens


def causal_pairs(tokens: int) -> int:
    """Return the pairs of one causal segment: the lower triangle with its diagonal."""
    return tokens * (tokens + 1) // 2


def slot_pairs(slots: int, context: int) -> int:
    """Return the pairs of ``slots`` queries that see ``context`` keys and one another: a rectangle under a mask."""
    return slots * (context + slots)


def vision_forward(vision: VisionShape, grid: Grid) -> int:
    """Return the FLOPs of one image: patch embedding, blocks and merger."""
    frames, rows, columns = grid
    patches = frames * rows * columns
    embed = 2 * patches * vision.channels * vision.temporal * vision.patch**2 * vision.hidden
    linear = 2 * patches * (4 * vision.hidden**2 + 3 * vision.hidden * vision.intermediate) * vision.depth
    full = frames * (rows * columns) ** 2
    pairs = vision.full_blocks * full + (vision.depth - vision.full_blocks) * frames * _window_pairs(vision, grid)
    wide = vision.hidden * vision.merge**2
    merger = 2 * (patches // vision.merge**2) * (wide * wide + wide * vision.out)
    return embed + linear + 4 * vision.hidden * pairs + merger


def head(shape: Shape, supervised: int, *, trained: bool = False) -> int:
    """Return the FLOPs of the head at the supervised positions: logits, the states' gradient, its own if trained."""
    return (6 if trained else 4) * shape.decoder.hidden * shape.decoder.vocab * supervised


def mlp(widths: Sequence[int], rows: int, *, recomputed: bool = False) -> int:
    """Return the FLOPs of a trained MLP of these widths on ``rows`` rows, its forward pass run twice if recomputed."""
    weights = sum(inputs * outputs for inputs, outputs in pairwise(widths))
    return (8 if recomputed else 6) * weights * rows


def sft_step(shape: Shape, examples: Sequence[ExampleSize], *, checkpointing: bool = False) -> StepFlops:
    """Return the FLOPs of an exact next-token step: nothing padded, the head at supervised positions only.

    Args:
        checkpointing: The decoder's layers are run again for the backward pass.
    """
    return StepFlops(
        vision=sum(vision_forward(shape.vision, grid) for example in examples for grid in example.grids),
        conversation=_conversation(shape, examples, input_gradient=shape.full, checkpointing=checkpointing),
        head=sum(head(shape, example.supervised, trained=shape.full) for example in examples),
    )


def pearl_step(
    shape: Shape,
    examples: Sequence[ExampleSize],
    *,
    slots: int = 4,
    next_widths: Sequence[int] = (),
    next_recomputed: bool = True,
    target_gradient: bool = False,
    checkpointing: bool = False,
) -> StepFlops:
    """Return the FLOPs of an exact one-pass Pearl step.

    Args:
        slots: Learned [PRED] tokens per example.
        next_widths: Widths of the next-latent head, its input first; empty without that term.
        next_recomputed: The next-latent head's forward pass is checkpointed.
        target_gradient: The target view is encoded with gradient, in the conversation's row.
        checkpointing: The decoder's layers are run again for the backward pass.
    """
    sft = sft_step(shape, examples, checkpointing=checkpointing)
    fed = slots > 0 or shape.full
    branch = target = 0
    for example in examples:
        pairs = slot_pairs(slots, example.context)
        branch += _there_and_back(shape, slots, pairs, input_gradient=True, checkpointing=checkpointing)
        tokens, pairs = example.trajectory, causal_pairs(example.trajectory)
        if target_gradient:
            target += _there_and_back(shape, tokens, pairs, input_gradient=fed, checkpointing=checkpointing)
        else:
            target += decoder_forward(shape, tokens, pairs)
    return StepFlops(
        vision=sft.vision,
        conversation=_conversation(shape, examples, input_gradient=fed, checkpointing=checkpointing),
        slots=branch,
        target=target,
        head=sft.head,
        next_latent=sum(mlp(next_widths, example.next_pairs, recomputed=next_recomputed) for example in examples),
    )


def _conversation(shape: Shape, examples: Sequence[ExampleSize], *, input_gradient: bool, checkpointing: bool) -> int:
    lengths = [example.context + example.rest for example in examples]
    row = {"input_gradient": input_gradient, "checkpointing": checkpointing}
    return sum(_there_and_back(shape, tokens, causal_pairs(tokens), **row) for tokens in lengths)


def _there_and_back(shape: Shape, tokens: int, pairs: int, *, input_gradient: bool, checkpointing: bool) -> int:
    forward = decoder_forward(shape, tokens, pairs)
    back = decoder_backward(shape, tokens, pairs, input_gradient=input_gradient)
    return forward * (2 if checkpointing else 1) + back


def _weights(shape: Shape) -> tuple[int, int]:
    """Return the entries of one layer's projections and of its adapters."""
    sizes = shape.decoder.projections()
    base = sum(inputs * outputs for inputs, outputs in sizes.values())
    adapters = sum(shape.lora_rank * sum(size) for name, size in sizes.items() if name in shape.lora_modules)
    return base, adapters


def _scores(shape: Shape, pairs: int) -> int:
    """Return the multiply-adds of one layer's two attention products, forward."""
    return 2 * shape.decoder.heads * shape.decoder.head_dim * pairs


def _window_pairs(vision: VisionShape, grid: Grid) -> int:
    """Return the pairs of one frame's windows: full squares of merged tokens, and what is left at the edges."""
    side = vision.window // vision.merge // vision.patch
    rows, columns = (_split(extent // vision.merge, side) for extent in grid[1:])
    return sum((high * wide * vision.merge**2) ** 2 for high in rows for wide in columns)


def _split(extent: int, side: int) -> list[int]:
    return [min(side, extent - start) for start in range(0, extent, side)]


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


def closed_forms(
    backbone: Backbone, trajectories: Sequence[Trajectory], *, checkpointing: bool
) -> dict[str, StepFlops]:
    """Return the closed forms on these examples: of the next-token step, Pearl, Pearl with stored targets, LVR."""
    shape, dim = Shape.of(backbone.base.config, lora_rank=lora_rank(backbone)), backbone.dim
    sft = example_sizes(LatentVLM(backbone, NextToken()), trajectories)
    pearl = example_sizes(LatentVLM(backbone, pearl_objective()), trajectories, horizon=1)
    lvr = example_sizes(LatentVLM(backbone, lvr_objective()), trajectories)  # a next-token step on a view of its own
    stored = [replace(example, trajectory=0) for example in pearl]
    widths = (2 * dim, dim, dim, dim)
    return {
        "sft": sft_step(shape, sft, checkpointing=checkpointing),
        "pearl": pearl_step(shape, pearl, next_widths=widths, checkpointing=checkpointing),
        "pearl_cached": pearl_step(shape, stored, next_widths=widths, checkpointing=checkpointing),
        "lvr": sft_step(shape, lvr, checkpointing=checkpointing),
    }
