"""The figure of accuracy against the number of latent tokens, under it how often the latent path ran."""

from __future__ import annotations

from jepa_vlm.analysis.latent_steps import CONTROLS, AccuracyBySteps
from jepa_vlm.drawing import CATEGORIES, GREY, drawing, svg_of

LOOKS = {
    "none": ("the model's own latents", CATEGORIES[0], "o", "-"),
    "noise": ("noise in their place", CATEGORIES[5], "s", "--"),
    "dropped": ("left out", CATEGORIES[2], "^", ":"),
}


def latent_steps_figure(found: AccuracyBySteps) -> str:
    """Return an SVG; counts stand at even distances, as doublings do.

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
