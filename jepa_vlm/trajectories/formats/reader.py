"""What a format is: a function from a path to trajectories, filed under a name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from jepa_vlm.registry import Registry
from jepa_vlm.trajectories.trajectory import Trajectory

Reader = Callable[[Path], list[Trajectory]]
FORMATS: Registry[Reader] = Registry("data format", hint="A new format is one file in jepa_vlm/trajectories/formats/.")
