"""What is asked of a model: images and a prompt, with options to choose from or without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, final

from jepa_vlm.trajectories import LazyImage


class Askable(Protocol):
    """Anything with an id, images and a prompt, such as a ``MultipleChoice``."""

    @property
    def id(self) -> str:
        """Unique in its set."""

    @property
    def images(self) -> tuple[LazyImage, ...]:
        """The input images, in order."""

    @property
    def prompt(self) -> str:
        """What is asked, as it is written."""


@final
@dataclass(frozen=True)
class Asked:
    """An open question.

    Args:
        id: Unique in its set.
        images: The input images, in order.
        prompt: What is asked, as it is written.
    """

    id: str
    images: tuple[LazyImage, ...]
    prompt: str
