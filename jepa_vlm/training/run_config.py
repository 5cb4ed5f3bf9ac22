"""``config.json`` of a run folder, which records what a run is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from jepa_vlm.errors import RunError

CONFIG = "config.json"
PARAMETER = "parameter."


@final
@dataclass(frozen=True)
class RunConfig:
    """What a run recorded about itself when it began.

    Args:
        path: The file.
        record: Its JSON object: settings as ``{"value": ..., "origin": ...}`` by name, and other facts beside them.
    """

    path: Path
    record: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> RunConfig:
        """Read the file of a run folder, also one that an earlier version wrote.

        Raises:
            RunError: If it is missing or broken.
        """
        path = folder / CONFIG
        if not path.is_file():
            raise RunError(f"{folder} holds no run: {CONFIG} is missing.")
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as err:
            raise RunError(f"{path} is not JSON ({err}); the run folder is damaged.") from None
        if not isinstance(record, dict):
            raise RunError(f"{path} must hold a JSON object, got {type(record).__name__}; the run folder is damaged.")
        return cls(path, record)

    @property
    def of_run(self) -> bool:
        """Whether a run wrote it: a model folder has a file of this name too."""
        return "objective" in self.record

    @property
    def values(self) -> dict[str, Any]:
        """The settings by name, those of the recipe's own parameters with ``parameter.`` before their names."""
        return {
            name: held["value"]
            for name, held in self.record.items()
            if isinstance(held, dict) and held.keys() == {"value", "origin"}
        }

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters that the recipe was loaded with."""
        return {
            name.removeprefix(PARAMETER): value for name, value in self.values.items() if name.startswith(PARAMETER)
        }
