"""Moves averaged target weights after each optimiser step."""

from __future__ import annotations

from typing import Any, final

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


@final
class TargetAverage(TrainerCallback):
    """Calls the model's ``after_optimizer_step``, which moves the average of an ``ema`` policy if there is one."""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        """Update the average."""
        model.after_optimizer_step()
