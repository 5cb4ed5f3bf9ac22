"""The files of a comparison, all from one record: JSON, Markdown, LaTeX, CSV, and one self-contained page."""

from __future__ import annotations

import csv
import io
import json
import math
import shlex
from pathlib import Path

from jepa_vlm.report.comparison_tables import ALL, Record, column_title, comparison_tables, rows_of_csv
from jepa_vlm.report.figures import BLUE, GREY, ORANGE, drawing, short, svg_of
from jepa_vlm.report.page import latex_table, markdown_table, plain, write_page
from jepa_vlm.whole_files import write_whole

TITLE = "Comparison"


def write_comparison(record: Record, path: Path) -> tuple[Path, ...]:
    """Write a record as ``path`` (.json), and beside it as .md, .tex, .csv and .html; return all paths.

    Raises:
        JepaVLMError: If jinja2 or matplotlib is not installed; the other files are written before.
    """
    texts = {
        ".json": json.dumps(record, indent=1, allow_nan=False) + "\n",
        ".md": comparison_markdown(record),
        ".tex": comparison_latex(record),
        ".csv": comparison_csv(record),
    }
    for suffix, text in texts.items():
        write_whole(path.with_suffix(suffix), text)
    page = path.with_suffix(".html")
    write_page("comparison.html", page, _values(record))
    return (*(path.with_suffix(suffix) for suffix in texts), page)


def comparison_markdown(record: Record) -> str:
    """Return the tables of a record as Markdown."""
    parts = [f"# {plain(_title(record))}"]
    if record["command"]:
        parts.append(f"```bash\n{shlex.join(record['command'])}\n```")
    parts += [f"Note: {plain(note)}" for note in record["notes"]]
    parts += [markdown_table(table) for table in comparison_tables(record)]
    made = ", ".join(plain(f"{name} {version}") for name, version in record["versions"].items())
    parts.append(f"Commit {record['commit']}; {made}.")
    return "\n\n".join(parts) + "\n"


def comparison_latex(record: Record) -> str:
    r"""Return the tables of a record as LaTeX; they need ``\usepackage{booktabs}``."""
    tables = "\n\n".join(latex_table(table) for table in comparison_tables(record))
    return f"% Needs \\usepackage{{booktabs}}.\n\n{tables}\n"


def comparison_csv(record: Record) -> str:
    """Return the record as CSV, one line for each checkpoint, benchmark and task."""
    held = io.StringIO()
    csv.writer(held, lineterminator="\n").writerows(rows_of_csv(record))
    return held.getvalue()


def _title(record: Record) -> str:
    names = [arm["name"] for arm in record["arms"][1:]]
    return f"{TITLE}: {', '.join(names)} on {record['backbone']}"


def _values(record: Record) -> dict[str, object]:
    first, *others = comparison_tables(record)
    seeds = sorted({seed for arm in record["arms"] for seed in arm["seeds"]})
    asking = record["asking"]
    return {
        "title": _title(record),
        "facts": [
            ("backbone", record["backbone"]),
            ("trained on", ", ".join(dict.fromkeys(arm["data"] for arm in record["arms"][1:]))),
            ("seeds", ", ".join(map(str, seeds))),
            ("matched by", record["match"]),
            ("baseline", record["baseline"]),
            ("questions", f"seed {asking['seed']}" + (f", {asking['questions']} each" if asking["questions"] else "")),
            ("protocol", asking["protocol"] or "the benchmarks' own"),
        ],
        "notes": record["notes"],
        "headline": first,
        "svg": accuracies_svg(record, name="accuracies"),
        "tables": others,
        "arms": record["arms"][1:],
        "command": shlex.join(record["command"]) if record["command"] else None,
        "versions": {**record["versions"], "commit": record["commit"] or "not recorded"},
    }


COLUMNS = 3


def accuracies_svg(record: Record, *, name: str) -> str:
    """Return a figure with a panel for each benchmark: means with intervals, seeds as marks, chance as a line.

    Raises:
        JepaVLMError: If matplotlib is not installed.
    """
    columns, arms = record["columns"], [arm["name"] for arm in record["arms"]]
    across = min(COLUMNS, len(columns))
    down = math.ceil(len(columns) / across)
    with drawing(10.4, down * (0.9 + 0.34 * len(arms)), name) as figure:
        grid = figure.subplots(down, across, squeeze=False, sharey=True)
        for place, axes in enumerate(grid.flat):
            if place >= len(columns):
                axes.set_axis_off()
                continue
            column = columns[place]
            found = record["accuracy"][column["benchmark"]][ALL]
            for row, arm in enumerate(arms):
                one = found[arm]
                error = [[one["mean"] - one["low"]], [one["high"] - one["mean"]]]
                colour = BLUE if one["best"] else GREY
                axes.errorbar(one["mean"], row, xerr=error, fmt="o", color=colour, capsize=3, markersize=5)
                seeds = [
                    run["accuracy"][column["benchmark"]][ALL]["value"] for run in record["runs"] if run["arm"] == arm
                ]
                if len(seeds) > 1:
                    axes.plot(seeds, [row + 0.22] * len(seeds), "|", color=colour, markersize=7)
            axes.axvline(column["chance"], color=ORANGE, linestyle=":", linewidth=1.4)
            axes.set_title(short(column_title(column)))
            axes.set_yticks(range(len(arms)), [short(arm) for arm in arms])
            axes.set_ylim(len(arms) - 0.5, -0.5)
            axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")
            axes.grid(visible=False, axis="y")
        return svg_of(figure)
