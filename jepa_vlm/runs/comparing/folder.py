"""The folder of a comparison.

settings.json       what may not change between two calls
facts/              by arm: resolved values, and what a trajectory costs
runs/ARM-SEED/      the runs, each a run folder like any other
answers/ARM-SEED/   by benchmark: every answer, and what answering took
logs/               what each process said
comparison.json     everything found; .md, .tex, .csv and .html are drawn from it
.lock               held by the process that works here
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

from jepa_vlm.errors import RunError
from jepa_vlm.runs.comparing.entries import UNTRAINED, Arm
from jepa_vlm.runs.folder import alone, holds_anything
from jepa_vlm.whole_files import write_whole

FORMAT = "jepa-vlm-comparison-1"


@final
class CompareFolder:
    """Paths of a comparison's files.

    Args:
        path: The folder.
    """

    def __init__(self, *, path: Path) -> None:
        self.path, self.settings, self.record = path, path / "settings.json", path / "comparison.json"

    def facts(self, arm: Arm) -> Path:
        """Return the file of an arm's facts."""
        return self.path / "facts" / f"{arm.slug}.json"

    def run(self, arm: Arm, seed: int) -> Path:
        """Return the folder of a run: the user's own, or one of this folder."""
        return arm.runs[seed] if seed in arm.runs else self.path / "runs" / f"{arm.slug}-{seed}"

    def answers(self, arm: Arm | None, seed: int | None) -> Path:
        """Return the folder of a model's answers; without an arm, of the untrained backbone's."""
        return self.path / "answers" / (UNTRAINED if arm is None else f"{arm.slug}-{seed}")

    def log(self, name: str) -> Path:
        """Return the file of a process's talk."""
        return self.path / "logs" / f"{name}.log"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes out of the folder, which is made if it is not there.

        Raises:
            RunError: If another process works in it, or it holds something else than a comparison.
        """
        self._check_own()
        with alone(self.path, "comparison"):
            yield

    def hold(self, settings: Mapping[str, Any], arms: Mapping[str, Mapping[str, Any]]) -> None:
        """Write down what a comparison is, or hold this call to what is written.

        Args:
            settings: What holds for all arms.
            arms: By name, what decides the arm's runs. More arms may come, and fewer be asked for.

        Raises:
            RunError: If something differs, or the folder holds something else.
        """
        if not self.settings.is_file():
            self._check_own()
            self._write(settings, arms)
            return
        held = self._read()
        self._same(held["settings"], settings, "")
        for name in arms.keys() & held["arms"].keys():
            self._same(held["arms"][name], arms[name], f"{name}: ")
        self._write(settings, {**held["arms"], **arms})

    def _check_own(self) -> None:
        if self.settings.is_file() or not self.path.exists():
            return
        if not self.path.is_dir() or holds_anything(self.path):
            raise RunError(f"{self.path} holds something that is not a comparison; give a new --output.")

    def _same(self, old: Mapping[str, Any], new: Mapping[str, Any], whose: str) -> None:
        for key in sorted(old.keys() | new.keys(), key=lambda key: (key != "match", key)):  # what others follow from
            if old.get(key) != new.get(key):
                raise RunError(
                    f"The comparison in {self.path} has {whose}{key} = {old.get(key)!r}, this command "
                    f"{new.get(key)!r}; runs that are compared share their settings. Repeat the command that began it, "
                    "or give a new --output."
                )

    def _read(self) -> dict[str, Any]:
        try:
            held: dict[str, Any] = json.loads(self.settings.read_text(encoding="utf-8"))
            if held["format"] != FORMAT:
                raise KeyError("format")
        except (ValueError, KeyError) as err:
            raise RunError(f"{self.settings} is damaged ({err!r}); give a new --output.") from None
        return held

    def _write(self, settings: Mapping[str, Any], arms: Mapping[str, Any]) -> None:
        held = {"format": FORMAT, "settings": dict(settings), "arms": dict(arms)}
        write_whole(self.settings, json.dumps(held, indent=1) + "\n")
