"""Accuracy against the number of latent tokens, with controls that take the latents' content away (paper, Figure 3).

The paper reports accuracy alone. Whether latents carry anything is seen against latents of noise and against none at
the same count, item by item; whether they were used at all, by how often the latent path ran.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, final

import numpy as np

from jepa_vlm.analysis.bootstrap import Estimate, bootstrap_mean
from jepa_vlm.errors import DataError
from jepa_vlm.evaluation import Accuracy, Evaluation, McNemar, mcnemar_exact
from jepa_vlm.evaluation.results import paired_marks
from jepa_vlm.generation.answering import Latents

Control = Literal["none", "noise", "dropped"]
CONTROLS: tuple[Control, ...] = ("none", "noise", "dropped")


@final
@dataclass(frozen=True)
class Decoded:
    """One evaluation with latent decoding.

    Args:
        steps: Latent tokens fed back; 0 is plain decoding.
        control: ``none`` feeds the model's own latents, ``noise`` random ones, ``dropped`` leaves them out.
        evaluation: Its answers.

    Raises:
        ValueError: If a value is out of its range.
    """

    steps: int
    control: Control
    evaluation: Evaluation

    def __post_init__(self) -> None:
        if self.steps < 0 or self.control not in CONTROLS or (self.steps == 0 and self.control != "none"):
            raise ValueError(
                f"steps must be at least 0 and control one of {', '.join(CONTROLS)}, which needs steps; got "
                f"{self.steps} and {self.control!r}."
            )


@final
@dataclass(frozen=True)
class StepsPoint:
    """One point of the figure.

    Args:
        steps, control: Of the decoding.
        accuracy: With Wilson's interval.
        ran: Share of the answers in which a latent step was taken; None without latent decoding.
        against_real: A control against the model's own latents at the same count, exact McNemar; its ``a`` is the
            model's own. None for the model's own.
        against_plain: Against 0 steps, whose answers are its ``a``; None without them, and for them.
    """

    steps: int
    control: Control
    accuracy: Accuracy
    ran: float | None
    against_real: McNemar | None
    against_plain: McNemar | None


@final
@dataclass(frozen=True)
class AccuracyBySteps:
    """The figure's data.

    Args:
        benchmark, scoring: What was asked and how it was read.
        points: By control, then by count.
        slope: Change of accuracy with each doubling of the count, least squares over the model's own latents from 1
            step on, bootstrap over items; None with fewer than two counts.
    """

    benchmark: str
    scoring: str
    points: tuple[StepsPoint, ...]
    slope: Estimate | None

    def summary(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {**asdict(self), "slope": None if self.slope is None else self.slope._asdict()}

    def table(self) -> list[dict[str, Any]]:
        """Return a row for each point."""
        rows = []
        for point in self.points:
            tests = {"against_real": point.against_real, "against_plain": point.against_plain}
            rows.append(
                {
                    "steps": point.steps,
                    "control": point.control,
                    **asdict(point.accuracy),
                    "ran": point.ran,
                    **{f"{name}_p": None if test is None else test.p_value for name, test in tests.items()},
                }
            )
        return rows


def decode_by_steps(
    ask: Callable[[Latents], Evaluation],
    answering: Latents,
    *,
    steps: Sequence[int],
    controls: Sequence[Control] = ("noise", "dropped"),
) -> list[Decoded]:
    """Ask the same items with every count of latent steps, and with every control at every count but 0.

    Args:
        ask: Evaluates the model on the items when it answers in a given way, as ``evaluate`` does.
        answering: The model's own way: its tokens, entry, and end of a latent segment.
        steps: Counts; 0 is plain decoding.
        controls: What is asked beside the model's own latents.

    Raises:
        ValueError: If there is no count, or one is below 0.
    """
    if not steps:
        raise ValueError("At least one count of latent steps is needed, got none.")
    kinds: list[tuple[int, Control]] = []
    for count in dict.fromkeys(steps):
        kinds += [(count, "none"), *((count, control) for control in controls if count)]
    return [Decoded(steps, control, ask(replace(answering, steps=steps, control=control))) for steps, control in kinds]


def accuracy_by_steps(decoded: Sequence[Decoded], *, scoring: str | None = None) -> AccuracyBySteps:
    """Put evaluations of the same items with different latent decoding side by side.

    Args:
        decoded: Each (steps, control) once; a control with the model's own latents at the same count beside it.
        scoring: Which scoring; None takes the first evaluation's headline.

    Raises:
        DataError: If items or protocols differ, a scoring is missing, or a control stands alone.
        ValueError: If there is nothing, or something twice.
    """
    by_key = {(one.control, one.steps): one for one in decoded}
    if not decoded or len(by_key) < len(decoded):
        raise ValueError(
            f"Each count and control may come once, at least one; got {[(o.steps, o.control) for o in decoded]}."
        )
    scoring = scoring or decoded[0].evaluation.scorings[0]
    ordered = sorted(by_key, key=lambda key: (CONTROLS.index(key[0]), key[1]))
    reference = by_key[ordered[0]].evaluation[scoring]
    marks = {key: paired_marks(reference, by_key[key].evaluation[scoring])[1] for key in ordered}
    for one in by_key.values():
        rules, other = (replace(held.protocol, latents="") for held in (reference, one.evaluation[scoring]))
        if rules != other:
            raise DataError(f"The protocols differ: {rules} and {other}; evaluate all under the same one.")
    points = []
    for control, steps in ordered:
        if control != "none" and ("none", steps) not in marks:
            raise DataError(
                f"Control {control!r} at {steps} steps needs the model's own latents at {steps} steps beside it."
            )
        own, held = marks[control, steps], by_key[control, steps].evaluation[scoring]
        plain = marks.get(("none", 0)) if steps else None
        points.append(
            StepsPoint(
                steps=steps,
                control=control,
                accuracy=held.overall,
                ran=held.latent_use["answers"] / len(own) if held.latent_use is not None and steps else None,
                against_real=None if control == "none" else mcnemar_exact(marks["none", steps], own),
                against_plain=None if plain is None else mcnemar_exact(plain, own),
            )
        )
    real = {steps: marks[control, steps] for control, steps in ordered if control == "none" and steps}
    return AccuracyBySteps(decoded[0].evaluation.benchmark, scoring, tuple(points), _slope(real))


def _slope(marks: Mapping[int, Sequence[bool]]) -> Estimate | None:
    """Return the slope over log2 of the count: linear in the marks, so it is a mean of one slope per item."""
    if len(marks) < 2:
        return None
    places = np.array([math.log2(steps) for steps in marks])
    centred = places - places.mean()
    each = np.array(list(marks.values()), dtype=np.float64).T @ centred / (centred @ centred)
    return bootstrap_mean(each)
