"""What a format is: a function from a path to rows, filed under a name."""

from __future__ import annotations

from collections.abc import Callable

from jepa_vlm.registry import Registry
from jepa_vlm.trajectories.rows import Rows

Reader = Callable[..., Rows]
"""Takes a path; its keyword-only parameters, texts with defaults, are the options that may follow a ``#``."""

FORMATS: Registry[Reader] = Registry("data format", hint="A new format is one file in jepa_vlm/trajectories/formats/.")
