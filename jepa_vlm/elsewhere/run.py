"""A command that runs a folder in a program, and the text of its script."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final


@final
@dataclass(frozen=True, kw_only=True)
class Run:
    """How a program runs one folder.

    Args:
        program: Its name.
        release: Whose interface the command is written for.
        command: Its words.
        files: Further files that the command reads, by their name in the folder.
        remarks: What to know before it is run, a sentence each.
    """

    program: str
    release: str
    command: tuple[str, ...]
    files: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def script(self) -> str:
        """Return a shell script; what it is given is appended to the command."""
        said = (f"{self.program}, written for {self.release}.", *self.remarks)
        lines = [f"# {line}" for line in said]
        return "\n".join(["#!/bin/sh", *lines, "set -eu", f'exec {shlex.join(self.command)} "$@"', ""])
