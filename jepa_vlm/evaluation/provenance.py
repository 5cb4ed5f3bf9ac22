"""Which software produced a number."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = {"jepa_vlm": "jepa-vlm", "torch": "torch", "transformers": "transformers", "peft": "peft"}


def versions() -> dict[str, str]:
    """Return the versions of Python, of the platform and of the packages that decide numbers."""
    found = {name: _version(package) for name, package in PACKAGES.items()}
    return {**found, "python": platform.python_version(), "platform": platform.platform()}


def commit() -> str | None:
    """Return the commit of the checkout that the package runs from, "-dirty" if edited; None without a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        described = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip() or None


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
