"""What a model that writes tokens of its own ahead of its words writes there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True, kw_only=True)
class Opening:
    """The beginning of every answer of a trained model, as its own ``generate`` writes it.

    Nothing makes the model write it. Evaluation gives it the room, reads the answer's letter behind it, and counts in
    how many answers it is there.

    Args:
        text: Special tokens, with or without words between them.
        tokens: The special tokens among them, each once.

    Raises:
        ValueError: If there is no token, or one that does not stand in the text.
    """

    text: str
    tokens: tuple[str, ...]

    def __post_init__(self) -> None:
        missing = [token for token in self.tokens if token not in self.text]
        if isinstance(self.tokens, str) or not self.tokens or missing:
            raise ValueError(f"An opening needs tokens that stand in its text {self.text!r}, got {self.tokens!r}.")

    @property
    def counts(self) -> dict[str, int]:
        """How often each token stands in the text."""
        return {token: self.text.count(token) for token in self.tokens}

    @property
    def room(self) -> int:
        """The most tokens that it takes, whatever the tokenizer: words count by their bytes."""
        words = self.text
        for token in self.tokens:
            words = words.replace(token, "")
        return sum(self.counts.values()) + len(words.encode())
