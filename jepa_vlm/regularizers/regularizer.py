"""Base class of regularizers."""

from __future__ import annotations

from abc import ABC

from jepa_vlm.terms import Term


class Regularizer(Term, ABC):
    """A term over the states of one view; it has no target view."""
