"""The bar on stderr that shows the terms."""

from __future__ import annotations

from typing import Any, final

from rich import progress
from rich.console import Console
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


@final
class Progress(TrainerCallback):
    """Draws a bar in a terminal; elsewhere writes a line per log. Only the first process talks.

    Args:
        console: Where to.
    """

    def __init__(self, *, console: Console) -> None:
        self.console = console
        self._bar: progress.Progress | None = None
        self._task = progress.TaskID(0)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open the bar."""
        if not state.is_world_process_zero or not self.console.is_terminal:
            return
        columns = (
            progress.BarColumn(bar_width=20),
            progress.MofNCompleteColumn(),
            progress.TimeRemainingColumn(),
            progress.TextColumn("{task.description}"),
        )
        self._bar = progress.Progress(*columns, console=self.console)
        self._task = self._bar.add_task("", total=state.max_steps, completed=state.global_step)
        self._bar.start()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(self._task, completed=state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Show each term's raw value."""
        values = {k.removeprefix("terms/"): v for k, v in (logs or {}).items() if k.startswith("terms/")}
        held_out = {k.removeprefix("eval_"): v for k, v in (logs or {}).items() if k.startswith("eval_")}
        if not state.is_world_process_zero or not (values or held_out):
            return
        text = "  ".join(f"{name} {value:.4g}" for name, value in (values or held_out).items())
        if held_out or self._bar is None:
            kind = "held-out " if held_out else ""
            self.console.print(
                f"step {state.global_step}/{state.max_steps}  {kind}{text}", highlight=False, soft_wrap=True
            )
        else:
            self._bar.update(self._task, description=text)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the bar."""
        self.close()

    def close(self) -> None:
        """Close the bar, also after an error."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
