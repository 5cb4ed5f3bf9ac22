"""What the benchmark commands share: the application with its error messages, and where records go."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from jepa_vlm.cli.app import Commands
from jepa_vlm.whole_files import write_whole

RESULTS = Path("benchmarks") / "results"


def application() -> typer.Typer:
    """Return an application that shows an error of jepa_vlm as one message with an exit code, as ``jepa-vlm`` does."""
    return typer.Typer(
        cls=Commands,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def command_line(module: str) -> tuple[str, ...]:
    """Return the words of the running command, for the record."""
    return ("python", "-m", module, *sys.argv[1:])


def say(text: str) -> None:
    """Write a line of progress to stderr."""
    sys.stderr.write(f"{text}\n")


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record as JSON, whole or not at all."""
    write_whole(path, json.dumps(record, indent=1) + "\n")
