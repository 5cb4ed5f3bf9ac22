"""Names of a package that load on first use, so that importing the package stays fast (PEP 562)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping


def on_first_use(package: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """Return what a package names ``__getattr__``.

    Args:
        package: Its ``__name__``.
        homes: By name: the module inside the package that holds it; "" for a module of that name itself.

    Example:
        >>> load = on_first_use("jepa_vlm", {"Box": "trajectories", "lazy": ""})
        >>> load("Box")
        <class 'jepa_vlm.trajectories.box.Box'>
    """

    def load(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if not homes[name]:
            return importlib.import_module(f"{package}.{name}")
        value: object = getattr(importlib.import_module(f"{package}.{homes[name]}"), name)
        return value

    return load
