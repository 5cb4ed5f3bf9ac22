"""Figures of the training-step suite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jepa_vlm.report.figures import BLUE, GREY, ORANGE, drawing, svg_of

COLOURS = {
    "sft": GREY,
    "sft_stock": "#c3c9d4",
    "pearl": BLUE,
    "pearl_cached": "#0e7490",
    "pearl_separate": "#93b4f5",
    "pearl_released": ORANGE,
    "lvr": "#6d28d9",
}
OTHER = "#15803d"
PHASE_COLOURS = ("#6d28d9", "#9aa3b2", "#d97706", "#2563eb", "#15803d", "#1e3a8a", "#b91c1c")


def ratios_svg(cases: Sequence[Mapping[str, Any]], *, name: str) -> str:
    """Return each step's cost over the next-token step's, by case: time where it was measured, else counted FLOPs.

    Raises:
        JepaVLMError: If matplotlib is not installed.
    """
    steps = list(dict.fromkeys(step for case in cases for step in case["variants"]))
    timed = any("timed" in one for case in cases for one in case["variants"].values())
    with drawing(10.4, 0.9 + 0.24 * len(steps) * len(cases), name) as figure:
        axes = figure.subplots()
        height = 0.8 / len(steps)
        for place, case in enumerate(cases):
            for number, step in enumerate(steps):
                value, error = _ratio(case["variants"].get(step), case["variants"].get("sft"), timed=timed)
                y = place + (number - (len(steps) - 1) / 2) * height
                if value is None:
                    axes.text(0.02, y, f"{step}: not measured", va="center", fontsize=7, color=GREY)
                    continue
                axes.barh(y, value, height=0.92 * height, color=COLOURS.get(step, OTHER), xerr=error, ecolor="#4b5563")
                axes.text(value + (error or 0), y, f"  {value:.2f}", va="center", fontsize=8)
        axes.axvline(1, color="#4b5563", linewidth=0.8, linestyle=":")
        axes.set_yticks(range(len(cases)), [_label(case) for case in cases])
        axes.set_ylim(len(cases) - 0.5, -0.5)
        axes.margins(x=0.08)
        axes.grid(visible=False, axis="y")
        axes.set_axisbelow(True)
        axes.set_xlabel("time / time of sft" if timed else "FLOPs / FLOPs of sft")
        for step in steps:
            axes.plot([], [], color=COLOURS.get(step, OTHER), linewidth=6, label=step)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        return svg_of(figure)


def phases_svg(cases: Sequence[Mapping[str, Any]], *, name: str) -> str:
    """Return where each step's time goes, or, where nothing was timed, its FLOPs: stacked bars, one panel a case.

    Raises:
        JepaVLMError: If matplotlib is not installed.
    """
    timed = any("timed" in one for case in cases for one in case["variants"].values())
    with drawing(10.4, 0.5 + sum(0.45 + 0.28 * len(case["variants"]) for case in cases), name) as figure:
        panels = figure.subplots(
            len(cases), 1, squeeze=False, gridspec_kw={"height_ratios": [1.5 + len(c["variants"]) for c in cases]}
        )[:, 0]
        for axes, case in zip(panels, cases, strict=True):
            names: list[str] = []
            for step, one in case["variants"].items():
                parts = one["timed"]["phases"] if "timed" in one else one.get("counted", {}).get("flops", {})
                start = 0.0
                for (phase, value), colour in zip(parts.items(), PHASE_COLOURS, strict=False):
                    width = value if timed else value / 1e12
                    axes.barh(len(names), width, left=start, color=colour, label=phase if not names else None)
                    start += width
                names.append(step)
            axes.set_yticks(range(len(names)), names)
            axes.invert_yaxis()
            axes.grid(visible=False, axis="y")
            axes.set_axisbelow(True)
            axes.set_title(_label(case).replace("\n", ", "))
        panels[0].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        panels[-1].set_xlabel("seconds" if timed else "TFLOP")
        return svg_of(figure)


def crossover_svg(rows: Sequence[Mapping[str, Any]], *, name: str) -> str:
    """Return the time of a token over the size of the micro-batch, under it the two least times.

    Raises:
        JepaVLMError: If matplotlib is not installed.
    """
    mixes = list(dict.fromkeys(row["mix"] for row in rows))
    with drawing(10.4, 3.2, name) as figure:
        for axes, mix in zip(figure.subplots(1, len(mixes), squeeze=False)[0], mixes, strict=True):
            own = [row for row in rows if row["mix"] == mix]
            for step in dict.fromkeys(step for row in own for step in row["variants"]):
                done = [row for row in own if not row["variants"][step]["failure"]]
                sizes, colour = [row["tokens"] for row in done], COLOURS.get(step, OTHER)
                for key, style, label in (
                    ("seconds", "-", step),
                    ("arithmetic", "--", f"{step}, arithmetic alone"),
                    ("launches", ":", f"{step}, launches alone"),
                ):
                    values = [row["variants"][step][key] for row in done]
                    each = [
                        1e6 * (value["median"] if key == "seconds" else value) / size
                        for value, size in zip(values, sizes, strict=True)
                    ]
                    marker = "o" if key == "seconds" else ""
                    axes.plot(sizes, each, color=colour, linestyle=style, marker=marker, markersize=3.5, label=label)
            axes.set_title(mix)
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.yaxis.set_minor_formatter(lambda value, _: "")
            axes.minorticks_off()
            axes.set_xticks([row["tokens"] for row in own], [f"{row['tokens']:,}" for row in own])
            axes.set_xlabel("tokens of a micro-batch")
            axes.set_ylabel("µs a token")
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        return svg_of(figure)


def _ratio(one: Any, base: Any, *, timed: bool) -> tuple[float | None, float | None]:
    if one is None or base is None:
        return None, None
    if timed:
        over = one.get("timed", {}).get("over", {}).get("sft")
        return (over["median"], 3 * over["error"]) if over else (None, None)
    if "counted" not in one or "counted" not in base:
        return None, None
    return one["counted"]["total_flops"] / base["counted"]["total_flops"], None


def _label(case: Mapping[str, Any]) -> str:
    return f"{case['mix']}\n{'checkpointing' if case['checkpointing'] else 'no checkpointing'}"
