"""Commands and export targets that packages add through entry points; each is loaded when it is named."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import final

COMMANDS = "jepa_vlm.commands"  # a command group of the command line, a typer.Typer
PROGRAMS = "jepa_vlm.programs"  # a function from the path of an exported folder to the ProgramCommand that runs it


def plugins(group: str) -> Mapping[str, EntryPoint]:
    """Return the entry points of a group by name, sorted."""
    return {entry.name: entry for entry in sorted(entry_points(group=group), key=lambda entry: entry.name)}


@final
@dataclass(frozen=True, kw_only=True)
class ProgramCommand:
    """The command that runs one exported folder in another program.

    Args:
        program: Name of the program.
        release: Release that the command is written for.
        command: Words of the command.
        files: Text of further files that the command reads, by their name in the folder.
        remarks: Sentences that the user should read before running the command.
    """

    program: str
    release: str
    command: tuple[str, ...]
    files: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def script(self) -> str:
        """Return a shell script; it appends its own arguments to the command."""
        comments = [f"# {line}" for line in (f"{self.program}, written for {self.release}.", *self.remarks)]
        return "\n".join(["#!/bin/sh", *comments, "set -eu", f'exec {shlex.join(self.command)} "$@"', ""])
