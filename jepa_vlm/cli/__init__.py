"""The command line. Building it imports neither torch nor transformers; commands import what they need."""

from __future__ import annotations


def main() -> None:
    """Run ``jepa-vlm``."""
    from jepa_vlm.cli.app import app

    app(prog_name="jepa-vlm")
