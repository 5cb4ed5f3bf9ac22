"""What a run trains: an objective, an adapter, and an optimiser's settings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

from jepa_vlm.generation.answering import Answering, Plain
from jepa_vlm.recipe.stage import Stage, check_stages

if TYPE_CHECKING:
    from jepa_vlm.terms import Objective, Term

SCHEDULES = ("cosine", "linear", "constant", "constant_with_warmup")
ENGINES = ("one_pass", "separate")
VARIANTS = ("plain", "dora", "rslora")
PARTS = ("language", "projector", "vision")
RANK = 64


@final
@dataclass(frozen=True)
class Lora:
    """A low-rank adapter on every linear projection of the decoder, and nowhere else.

    Args:
        rank: Rank r of the update B @ A. None leaves it open: a run then takes that of the backbone's profile, else the
            published one, else 64.
        alpha: The update is scaled by alpha / rank. None is twice the rank.
        dropout: On the adapter's input. Engines and accumulation splits agree exactly only at 0.
        variant: ``plain``; ``dora`` (arXiv 2402.09353), which learns the length of each output apart from its
            direction; ``rslora`` (arXiv 2312.03732), which scales by alpha / sqrt(rank).

    Raises:
        ValueError: If a value is out of its range.
    """

    rank: int | None = None
    alpha: int | None = None
    dropout: float = 0.0
    variant: str = "plain"

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise ValueError(f"variant must be one of {', '.join(VARIANTS)}; got {self.variant!r}.")
        if self.rank is not None and self.rank < 1:
            raise ValueError(f"rank must be at least 1, got {self.rank}; to train without an adapter use lora=None.")
        if self.alpha is not None and self.alpha < 1:
            raise ValueError(f"alpha must be at least 1, got {self.alpha}.")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1), got {self.dropout}.")

    def sizes(self) -> tuple[int, int]:
        """Return rank and alpha, what is open filled in."""
        rank = RANK if self.rank is None else self.rank
        return rank, 2 * rank if self.alpha is None else self.alpha


@final
@dataclass(frozen=True, kw_only=True)
class Published:
    """Values that a paper or its code gives for models of full size.

    The profile of a backbone comes before them: the bundled default model is a thousand times smaller and needs others.
    What the recipe itself states comes before both.

    Args:
        learning_rate, batch_size, accumulation, steps: As in ``Recipe``; None if nothing is published.
        rank: Of the adapter, if the recipe has one and leaves its rank open.

    Raises:
        ValueError: If a value is out of its range.
    """

    learning_rate: float | None = None
    batch_size: int | None = None
    accumulation: int | None = None
    steps: int | None = None
    rank: int | None = None

    def __post_init__(self) -> None:
        _check_sizes(self, ("batch_size", "accumulation", "steps", "rank"))


@final
@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One run's settings. Derive a variant with ``dataclasses.replace``; its repr is what the log shows.

    What a recipe states is what a run does, unless the user says otherwise. What it leaves open (None) the backbone's
    profile fills, else ``published``, else the library: the defaults in ``jepa_vlm.runs.settings``.

    Args:
        objective: What is minimised. A single term becomes an objective of one.
        lora: The adapter, or None to train the whole decoder.
        learning_rate: Peak of the schedule, or None.
        warmup: Over which the learning rate rises: a share of the steps, or as a whole number so many steps.
        weight_decay: Of AdamW, on matrices only.
        batch_size: Trajectories per micro-batch and device, or None.
        accumulation: Micro-batches per optimiser step, or None.
        steps: Optimiser steps, or None.
        schedule: How the learning rate falls: ``cosine``, ``linear``, ``constant`` or ``constant_with_warmup``.
        max_grad_norm: Gradients are clipped to this norm; 0 clips nothing.
        engine: How views are encoded: ``one_pass``, or ``separate``, the reference; or None.
        published: Values for models of full size, which a backbone's profile replaces.
        rates: Which parts of the backbone train, each with its multiple of the learning rate: ``language`` (the
            adapter, or without one the decoder and its head), ``projector``, ``vision``. What is left out is frozen.
        added_tokens: Special tokens that the backbone's vocabulary gets, such as ``"<|latent_start|>"``. Their rows
            train, whatever ``rates`` says; the vocabulary's other rows only where the decoder trains in full, without
            an adapter. What is exported has them too.
        stages: Which terms are computed when; none computes all of them throughout. The checkpoint with the lowest
            loss of the last stage's terms is the best.
        answering: How the trained model answers: ``Plain``, ``Latents`` or ``Tools``. Every checkpoint and export
            records it. The ``head`` of ``Latents`` is set to that of the objective's reconstruction.

    Raises:
        ValueError: If a value is out of its range.
    """

    objective: Objective | Term
    lora: Lora | None = Lora()
    learning_rate: float | None = None
    warmup: float | int = 0.05
    weight_decay: float = 0.1
    batch_size: int | None = None
    accumulation: int | None = None
    steps: int | None = None
    schedule: str = "cosine"
    max_grad_norm: float = 1.0
    engine: str | None = None
    published: Published = field(default_factory=Published)
    rates: Mapping[str, float] = field(default_factory=lambda: {"language": 1.0})
    added_tokens: tuple[str, ...] = ()
    stages: tuple[Stage, ...] = ()
    answering: Answering = Plain()  # noqa: RUF009

    def __post_init__(self) -> None:
        from jepa_vlm.terms import Objective, Term  # brings torch, which listing recipes must not

        if isinstance(self.objective, Term):
            object.__setattr__(self, "objective", 1.0 * self.objective)
        if not isinstance(self.objective, Objective):
            came = type(self.objective).__name__
            raise ValueError(f"objective must be a term or a sum of terms, such as jv.NextToken(); got {came}.")
        check_stages(self.stages, {term.name: term.loss_dropout for _, term in self.objective.parts()})
        if not isinstance(self.answering, Answering):
            raise ValueError(f"answering must be jv.Plain, jv.Latents or jv.Tools; got {self.answering!r}.")
        object.__setattr__(self, "answering", self.answering.for_objective(self.objective))
        _check_sizes(self, ("batch_size", "accumulation", "steps"))
        for name in ("weight_decay", "max_grad_norm"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be finite and not negative, got {getattr(self, name)}.")
        if not 0 <= self.warmup < (math.inf if isinstance(self.warmup, int) else 1):
            raise ValueError(
                f"warmup is a share of the steps in [0, 1) or a whole number of steps, got {self.warmup}; 0.05 is 5%."
            )
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}; got {self.schedule!r}.")
        for name, factor in self.rates.items():
            if name not in PARTS:
                raise ValueError(f"rates names parts of the backbone: {', '.join(PARTS)}; got {name!r}.")
            if not 0 < factor < math.inf:
                raise ValueError(f"The rate of {name} must be a positive multiple, got {factor}; leave it out instead.")
        for token in self.added_tokens:
            if not isinstance(token, str) or not token or token != "".join(token.split()):
                raise ValueError(f"An added token is a text without spaces, such as '<|latent|>'; got {token!r}.")
        if isinstance(self.added_tokens, str) or len(set(self.added_tokens)) < len(self.added_tokens):
            raise ValueError(f"added_tokens is a tuple of different tokens; got {self.added_tokens!r}.")
        if self.engine not in (None, *ENGINES):
            raise ValueError(f"engine must be one of {', '.join(ENGINES)}; got {self.engine!r}.")


def _check_sizes(held: Recipe | Published, whole: Sequence[str]) -> None:
    """Check a learning rate and whole numbers, where they are stated.

    Raises:
        ValueError: If one is out of its range.
    """
    for name in whole:
        value = getattr(held, name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}.")
    if held.learning_rate is not None and not 0 < held.learning_rate < math.inf:
        raise ValueError(f"learning_rate must be positive and finite, got {held.learning_rate}.")
