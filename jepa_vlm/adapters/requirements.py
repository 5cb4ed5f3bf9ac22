"""What must be installed for any backbone to load, checked before the first import that would fail obscurely."""

from __future__ import annotations

from importlib.metadata import version

from jepa_vlm.errors import BackboneError

OLDEST = (5, 23)  # the first with ``mm_encoder_outputs`` and a Pillow backend for every image processor in use


def check_transformers() -> None:
    """Refuse a transformers that is too old.

    Raises:
        BackboneError: If it is.
    """
    found = version("transformers")
    if tuple(int(part) for part in found.split(".")[:2]) < OLDEST:
        needed = ".".join(map(str, OLDEST))
        raise BackboneError(
            f"transformers must be {needed} or later, found {found}; pip install 'transformers>={needed}'."
        )
