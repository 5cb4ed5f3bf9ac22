"""Objectives and trajectories drawn at random: all that can be composed, within a few tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

import jepa_vlm as jv
from tests.factories import random_trajectory

CONTEXTS = ("none", "image", "question")


class Draw:
    """Draws from a seed.

    Args:
        seed: The same seed gives the same things.
    """

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def number(self, low: int, high: int) -> int:
        """Return a whole number, both ends included."""
        return int(torch.randint(low, high + 1, (), generator=self.generator))

    def one_of(self, *choices: Any) -> Any:
        """Return one of the choices."""
        return choices[self.number(0, len(choices) - 1)]

    def objective(self) -> jv.Objective:
        """Return a weighted sum of up to six terms: tokens, predictions and regularizers."""
        terms: list[Any] = []
        if self.number(0, 3):
            terms.append(jv.NextToken(trained=self.one_of("all", "last"), chunk=self.one_of(7, 1024)))
        terms += [self.prediction() for _ in range(self.number(0 if terms else 1, 3))]
        terms += [self.regularizer() for _ in range(self.one_of(0, 0, 1, 2))]
        total = 1.0 * terms[0]
        for term in terms[1:]:
            total = total + self.one_of(0.1, 0.5, 2.0) * term
        return total

    def prediction(self) -> jv.LatentPrediction:
        """Return a prediction of any view from any other, with 0 to 5 learned slots, under any policy."""
        slots = self.number(0, 5)
        if slots:
            context = jv.ViewEncoder(jv.views.Question(), readout=self.one_of("last_pred", "turn_end"))
            predictor: Any = jv.PredTokenPredictor(tokens=slots)
        else:
            view = self.one_of(jv.views.Question(), jv.views.Question(), self.view())
            context = jv.ViewEncoder(view, readout=self.one_of("last_token", "turn_end", "mean"))
            predictor = self.one_of(jv.IdentityPredictor(), jv.MLPPredictor(hidden=16))
        policy = self.one_of(
            jv.stop_gradient(), jv.stop_gradient(), jv.with_gradient(), jv.with_gradient(), jv.frozen(), jv.ema(0.9)
        )
        target = self.view()
        while target == context.view:
            target = self.view()
        return jv.LatentPrediction(
            context=context,
            predictor=predictor,
            target=jv.ViewEncoder(target, readout=self.one_of("last_token", "turn_end", "mean"), policy=policy),
            loss=self.one_of(jv.SmoothL1Loss(), jv.CosineLoss(), jv.MSELoss(), jv.InfoNCELoss(temperature=0.5)),
        )

    def view(self) -> Any:
        """Return any view, a trajectory's most often."""
        trajectory = jv.views.TrajectoryOnly(self.one_of(*CONTEXTS))
        return self.one_of(jv.views.Question(), jv.views.Conversation(), jv.views.Answer(), trajectory, trajectory)

    def regularizer(self) -> jv.NextLatentRegularizer:
        """Return a roll-out on any view that holds the trajectory."""
        return jv.NextLatentRegularizer(
            horizon=self.number(1, 3),
            condition=self.one_of("token", "none"),
            positions=self.one_of("trajectory", "supervised", "all"),
            view=self.one_of(jv.views.Conversation(), jv.views.TrajectoryOnly(self.one_of(*CONTEXTS))),
            kl_weight=self.one_of(0.0, 0.0, 0.3),
        )

    def micro_batches(self) -> list[list[jv.Trajectory]]:
        """Return one to three micro-batches of one or two trajectories, some with one image twice."""
        return [[self.trajectory(f"{i}-{j}") for j in range(self.number(1, 2))] for i in range(self.number(1, 3))]

    def trajectory(self, name: str) -> jv.Trajectory:
        """Return a trajectory with 0 to 3 calls."""
        found = random_trajectory(self.generator, name)
        if self.number(0, 2):
            return found
        steps = tuple(replace(step, image=found.images[0]) if step.image is not None else step for step in found.steps)
        return replace(found, images=(found.images[0], *found.images), steps=steps)
