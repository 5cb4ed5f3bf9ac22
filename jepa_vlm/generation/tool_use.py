"""What an answer with tools cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

Stop = Literal["answered", "calls", "images", "tokens"]


@final
@dataclass(frozen=True)
class ToolUse:
    """Counts of one conversation.

    Args:
        calls: Tool calls that were run.
        failures: Those of them that gave an error.
        tokens: Generated in all turns.
        stopped: Why it ended: the model ``answered``, or a limit was met.
    """

    calls: int
    failures: int
    tokens: int
    stopped: Stop
