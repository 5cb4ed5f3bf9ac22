"""Self-contained HTML pages, and tables of text in Markdown and in LaTeX."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from jepa_vlm.errors import missing_extra
from jepa_vlm.whole_files import write_whole

LISTED = 10  # a page shows this many entries of a list
TEMPLATES = Path(__file__).parent / "templates"


def write_page(template: str | Path, path: Path, values: Mapping[str, object]) -> None:
    """Render a template and write the page, whole or not at all. Every value is escaped unless it is Markup.

    Args:
        template: Name of a template of this package, or path of a template that may extend one of them.
        path: Path of the page.
        values: Variables of the template.

    Raises:
        JepaVLMError: If jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError:
        raise missing_extra("jinja2", "report", "An HTML page") from None
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([TEMPLATES, Path(template).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    environment.filters["readable"] = readable
    environment.filters["signed"] = signed
    environment.filters["percent"] = percent
    write_whole(path, environment.get_template(Path(template).name).render(values))


def number(value: object) -> str:
    """Return a value as short text: a float with four digits, any other value as it prints."""
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value)
    return f"{value:.4g}" if math.isfinite(value) else "not finite"


def readable(value: object) -> str:
    """Return a JSON value as text. Of a list, the first ten entries, one per line."""
    if value is None:
        return "not set"
    if isinstance(value, dict):
        return ", ".join(f"{name}={number(held)}" for name, held in value.items())
    if not isinstance(value, list):
        return number(value)
    more = [f"… {len(value):,} in all"] if len(value) > LISTED else []
    return "\n".join([readable(held) for held in value[:LISTED]] + more) or "none"


def signed(value: float) -> str:
    """Return a difference with its sign, three digits."""
    return f"{value:+.3g}" if math.isfinite(value) else "not finite"


def percent(share: float) -> str:
    """Return a share as a percentage with one decimal."""
    return f"{100 * share:.1f}%"


NOT_MEASURED = "–"
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "×": r"$\times$", "µ": r"$\mu$", "–": "--",
    "−": "$-$", "…": r"\dots{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "\n": " ",
}  # fmt: skip


@final
@dataclass(frozen=True)
class Table:
    """One table.

    Args:
        title: Title above the table.
        head: Names of the columns.
        rows: Cells as text; the first column is left-aligned, the others right.
        note: Note below the table.
        bold: (row, column) of the bold cells.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    bold: frozenset[tuple[int, int]] = frozenset()


def si(value: float, unit: str) -> str:
    """Return a number with three digits and a decimal prefix."""
    for factor, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1, "")):
        if abs(value) >= factor:
            return f"{_three(value / factor)} {prefix}{unit}"
    for factor, prefix in ((1e-3, "m"), (1e-6, "µ")):
        if abs(value) >= factor:
            return f"{_three(value / factor)} {prefix}{unit}"
    return f"0 {unit}" if value == 0 else f"{value:.2g} {unit}"


def _three(value: float) -> str:
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f}"


def markdown_table(table: Table) -> str:
    """Return a table as Markdown, its cells escaped."""
    align: Sequence[str] = ("---", *["---:"] * (len(table.head) - 1))
    rows = [
        [f"**{_cell(cell)}**" if (i, j) in table.bold else _cell(cell) for j, cell in enumerate(row)]
        for i, row in enumerate(table.rows)
    ]
    lines = ["| " + " | ".join(row) + " |" for row in (map(_cell, table.head), align, *rows)]
    note = f"\n\n{plain(table.note)}" if table.note else ""
    return f"### {plain(table.title)}\n\n" + "\n".join(lines) + note


def latex_table(table: Table) -> str:
    """Return a table as LaTeX, for the package booktabs."""
    rows = [
        " & ".join(rf"\textbf{{{latex(cell)}}}" if (i, j) in table.bold else latex(cell) for j, cell in enumerate(row))
        for i, row in enumerate(table.rows)
    ]
    note = f". {table.note}" if table.note else ""
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{latex(table.title + note)}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(table.head) - 1)}}}",
            r"\toprule",
            " & ".join(map(latex, table.head)) + r" \\",
            r"\midrule",
            # A row that begins with [ or * would be read as an argument of the line's end before it.
            *(("{}" if row[:1] in ("[", "*") else "") + row + r" \\" for row in rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def latex(text: str) -> str:
    """Return text escaped for LaTeX."""
    return "".join(_LATEX.get(character, character) for character in text)


def plain(text: str) -> str:
    """Return text escaped for Markdown, where it could be read as HTML."""
    return text.replace("<", "&lt;").replace("\n", " ")


def _cell(text: str) -> str:
    return plain(text).replace("|", r"\|")
