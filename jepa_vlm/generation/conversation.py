"""One conversation of the tool loop, as it grows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from PIL import Image

from jepa_vlm.adapters.chat import Turn
from jepa_vlm.generation.asked import Askable
from jepa_vlm.generation.prompt import user_turn


@final
class Conversation:
    """The turns so far, their images, and what was counted.

    Args:
        item: What is asked; its images are decoded once.
        system: The system turn, or "".
        guidelines: Appended to the question.
        reserved: Special tokens, which no text that a model had a part in may bring into the prompt.
    """

    def __init__(self, item: Askable, *, system: str, guidelines: str, reserved: Sequence[str]) -> None:
        self.id = item.id
        self.images = [image.load() for image in item.images]
        asked = user_turn(item.prompt + guidelines, self.images)
        self.turns: list[Turn] = [asked]
        if system:
            self.turns.insert(0, {"role": "system", "content": [{"type": "text", "text": system}]})
        self.spoken: list[str] = []
        self.calls = self.failures = self.tokens = 0
        self._reserved = reserved

    def say(self, text: str) -> None:
        """Add the model's turn."""
        self.spoken.append(self._harmless(text))
        self.turns.append({"role": "assistant", "content": [{"type": "text", "text": self.spoken[-1]}]})

    def observe(self, text: str, picture: Image.Image | None = None, *, image_first: bool = True) -> None:
        """Add the user turn that answers a call: words, a picture, or both."""
        content: list[dict[str, object]] = [{"type": "text", "text": self._harmless(text)}] if text else []
        if picture is not None:
            self.images.append(picture)
            content.insert(0 if image_first else len(content), {"type": "image", "image": picture})
        self.turns.append({"role": "user", "content": content})

    def _harmless(self, text: str) -> str:
        """Return the text without special tokens: spelled out, they would be read as structure in the next prompt."""
        found = True
        while found:
            found = False
            for token in self._reserved:
                if token in text:
                    text, found = text.replace(token, ""), True
        return text
