"""What commands print: results on stdout, talk on stderr, and with ``--json`` one object on stdout and nothing else."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout; everything else goes to stderr.")]

SPEC = typer.Argument(help="FORMAT:PATH, FORMAT:PATH#KEY=VALUE, or a path; several by commas.")


@contextlib.contextmanager
def quiet_stdout() -> Iterator[None]:
    """Send whatever libraries print to stderr."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def write(text: str) -> None:
    """Write a line to stdout."""
    sys.stdout.write(f"{text}\n")


def write_json(value: Any) -> None:
    """Write one JSON object to stdout."""
    write(json.dumps(value, indent=1, default=str))


def written(json: bool, summary: Mapping[str, Any], text: str, paths: Sequence[Path]) -> None:
    """Say what an analysis found and which files hold it, as text or as one JSON object."""
    if json:
        write_json({**summary, "files": [str(path) for path in paths]})
    else:
        write(f"{text}\n\n{', '.join(map(str, paths))}")


def columns(rows: Sequence[Sequence[str]], *, indent: str = "") -> str:
    """Return rows as text, every column but the last padded to its widest entry."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        lines.append(indent + "  ".join([*cells, row[-1]]).rstrip())
    return "\n".join(lines)


@contextlib.contextmanager
def progress_bar(total: int) -> Iterator[Callable[..., None]]:
    """Draw a bar on stderr, if that is a terminal; yield what moves it by one, or by as many as it is told."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    screen = Console(stderr=True)
    shown = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*shown, console=screen, transient=True, disable=not screen.is_terminal) as bar:
        task = bar.add_task("", total=total)
        yield lambda by=1: bar.advance(task, by)
