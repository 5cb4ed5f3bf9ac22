"""Accuracy against the number of latent tokens, with controls that remove the latents' content (Figure 3 of the paper).

The paper reports only accuracy. Here each count is also compared, item by item, with noise in place of the latents and
with no latents, which shows whether the latents carry information; ``ran`` shows how often they were used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, final

import numpy as np

from jepa_vlm.contrib.analysis.bootstrap import BootstrapEstimate, bootstrap_mean
from jepa_vlm.errors import DataError
from jepa_vlm.evaluation import Accuracy, Evaluation, McNemar, mcnemar_exact
from jepa_vlm.evaluation.results import paired_marks
from jepa_vlm.generation.answering import Latents
from jepa_vlm.report.figures import CATEGORIES, GREY, drawing, svg_of

Control = Literal["none", "noise", "dropped"]
CONTROLS: tuple[Control, ...] = ("none", "noise", "dropped")


@final
@dataclass(frozen=True)
class Decoded:
    """One evaluation with latent decoding.

    Args:
        steps: Number of latent tokens that are fed back; 0 is plain decoding.
        control: ``none`` feeds the model's own latents, ``noise`` random ones, ``dropped`` none.
        evaluation: The evaluation.

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
        steps: Number of latent tokens.
        control: Control of the decoding.
        accuracy: Accuracy with Wilson's interval.
        ran: Share of the answers in which a latent step was taken; None without latent decoding.
        against_real: Exact McNemar test of the model's own latents (``a``) against this control at the same count; None
            for the model's own latents.
        against_plain: Exact McNemar test of 0 steps (``a``) against this point; None for 0 steps, or without them.
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
        benchmark: Name of the benchmark.
        scoring: Name of the scoring.
        points: The points by control, then by count.
        slope: Change of accuracy with each doubling of the count: least squares over the model's own latents from 1
            step on, with a bootstrap interval over items; None with fewer than two counts.
    """

    benchmark: str
    scoring: str
    points: tuple[StepsPoint, ...]
    slope: BootstrapEstimate | None

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
    """Evaluate the same items with every count of latent steps, and with every control at every count but 0.

    Args:
        ask: Evaluates the items under one way of answering.
        answering: The model's own latent feedback: tokens, entry, end of latent steps.
        steps: Numbers of latent steps; 0 is plain decoding.
        controls: Controls to evaluate beside the model's own latents.

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
    """Compare evaluations of the same items with different latent decodings.

    Args:
        decoded: Evaluations, each (steps, control) once; a control needs the model's own latents at the same count.
        scoring: Name of the scoring; None takes the first scoring of the first evaluation.

    Raises:
        DataError: If items or protocols differ, a scoring is missing, or a control lacks the model's own latents.
        ValueError: If there is no evaluation, or one (steps, control) twice.
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


def _slope(marks: Mapping[int, Sequence[bool]]) -> BootstrapEstimate | None:
    """Return the slope over log2 of the count. It is linear in the marks, hence the mean of one slope per item."""
    if len(marks) < 2:
        return None
    places = np.array([math.log2(steps) for steps in marks])
    centred = places - places.mean()
    each = np.array(list(marks.values()), dtype=np.float64).T @ centred / (centred @ centred)
    return bootstrap_mean(each)


LOOKS = {
    "none": ("the model's own latents", CATEGORIES[0], "o", "-"),
    "noise": ("noise in their place", CATEGORIES[5], "s", "--"),
    "dropped": ("left out", CATEGORIES[2], "^", ":"),
}


def latent_steps_figure(found: AccuracyBySteps) -> str:
    """Return the figure as SVG; counts have equal distances, as doublings do on a logarithmic axis.

    Raises:
        JepaVLMError: If matplotlib is not installed.
    """
    counts = sorted({point.steps for point in found.points})
    known = any(point.ran is not None for point in found.points)
    with drawing(7.6, 4.6 if known else 3.4, "latent-steps", pad=0.1) as figure:
        panels = figure.subplots(1 + known, 1, sharex=True, squeeze=False, height_ratios=(3, 1)[: 1 + known])[:, 0]
        top = panels[0]
        for number, control in enumerate(CONTROLS):
            own = [point for point in found.points if point.control == control]
            if not own:
                continue
            label, colour, marker, line = LOOKS[control]
            at = [counts.index(point.steps) + 0.09 * (number - 1) for point in own]
            values = [point.accuracy.value for point in own]
            spread = [
                [point.accuracy.value - point.accuracy.low for point in own],
                [point.accuracy.high - point.accuracy.value for point in own],
            ]
            look = {"color": colour, "marker": marker, "linestyle": line, "markersize": 5}
            top.errorbar(at, values, yerr=spread, label=label, capsize=3, linewidth=1.4, elinewidth=0.9, **look)
            ran = [(place, point.ran) for place, point in zip(at, own, strict=True) if point.ran is not None]
            if ran:
                panels[1].plot(*zip(*ran, strict=True), **look)
        chance = found.points[0].accuracy.chance
        top.axhline(chance, color=GREY, linewidth=1.2, linestyle=(0, (1, 2)), label="chance")
        top.set_ylabel("accuracy")
        slope = (
            ""
            if found.slope is None
            else (
                f"\nslope {100 * found.slope.value:+.1f} points a doubling "
                f"({100 * found.slope.low:+.1f} to {100 * found.slope.high:+.1f})"
            )
        )
        top.set_title(f"{found.benchmark or 'accuracy'}, {found.scoring}{slope}")
        top.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        for axes in panels:
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        if known:
            panels[1].set_ylim(-0.05, 1.05)
            panels[1].set_ylabel("latent path ran")
        panels[-1].set_xticks(range(len(counts)), [str(count) for count in counts])
        panels[-1].set_xlabel("latent tokens")
        return svg_of(figure)
