"""``jepa-vlm compare``: several recipes over several seeds, one table."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jepa_vlm.cli.options import takes_options
from jepa_vlm.cli.output import Json, columns, quiet_stdout, write, write_json
from jepa_vlm.runs.settings import SHARED, CompareSettings, RunSettings

if TYPE_CHECKING:
    from jepa_vlm.runs import ComparisonResult


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(compare)


@takes_options("settings", CompareSettings)
@takes_options("training", RunSettings, only=SHARED)
def compare(
    entry: Annotated[
        list[str],
        typer.Argument(
            help="RECIPE, RECIPE:KEY=VALUE,..., RECIPE@DATA, or the folder of a finished run; NAME= before it names it."
        ),
    ],
    settings: dict[str, Any],
    training: dict[str, Any],
    json: Json = False,
) -> None:
    """Train several recipes over several seeds, ask all of them the same questions, and write one table.

    Called again, with more seeds or more entries, it does only what is missing.
    """
    with quiet_stdout():
        from jepa_vlm.cli.evaluate import benchmarks_named
        from jepa_vlm.runs import start_comparison

        if "on" in settings:
            settings["on"] = tuple(benchmarks_named(settings["on"]))
        given = CompareSettings(
            entries=tuple(entry), training=training, command=("jepa-vlm", *sys.argv[1:]), **settings
        )
        result = start_comparison(given)
    if json:
        write_json({"folder": str(result.folder), "files": [str(path) for path in result.files], **result.record})
    else:
        write(result_text(result))


def result_text(result: ComparisonResult) -> str:
    """Return accuracies and differences as text, and where the rest is."""
    from jepa_vlm.report.comparison_tables import headline_tables

    shown = [columns([table.head, *table.rows]) for table in headline_tables(result.record)]
    return "\n\n".join([*shown, "\n".join(str(path) for path in result.files)])
