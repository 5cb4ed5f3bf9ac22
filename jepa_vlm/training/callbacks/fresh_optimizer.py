"""Forgets the optimiser's averages where a stage asks for a new one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


@final
@dataclass
class FreshOptimizer(TrainerCallback):
    """Empties the optimiser's state before the first step of such a stage: AdamW then counts its steps from 1 again.

    Args:
        begins_anew: From a step, counted from 0, to whether it is one.
    """

    begins_anew: Callable[[int], bool]

    def on_step_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        optimizer: Any = None,
        **kwargs: Any,
    ) -> None:
        """Forget what was averaged so far, on such a step."""
        if self.begins_anew(state.global_step):
            optimizer.state.clear()
