"""Renders a template of this package into one HTML file that needs nothing outside itself."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from jepa_vlm.errors import missing_extra
from jepa_vlm.whole_files import write_whole

LISTED = 10  # entries of a list that a page shows
TEMPLATES = Path(__file__).parent / "templates"


def write_page(template: str | Path, path: Path, values: dict[str, Any]) -> None:
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
    """Return a value as short text: four digits of a float, anything else as it reads."""
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value)
    return f"{value:.4g}" if math.isfinite(value) else "not finite"


def readable(value: object) -> str:
    """Return any JSON value as text: the entries of a list one per line, the first ten of them."""
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
