"""SIGINT and SIGTERM finish the step, save, and stop."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self, final

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@final
class StopRequest:
    """Within this context, the first signal only asks for a stop; the second one acts as it always does.

    Handlers can be set by the main thread alone; elsewhere the context does nothing.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


@final
class StopWhenAsked(TrainerCallback):
    """Turns a stop request into a save and a stop at the end of the step, on all processes in the same step.

    Args:
        request: The request to watch.
    """

    def __init__(self, *, request: StopRequest) -> None:
        self.request = request

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Set the control flags if any process was asked to stop."""
        if torch.distributed.is_initialized():
            asked = torch.tensor(int(self.request.asked), device=args.device)
            torch.distributed.all_reduce(asked, op=torch.distributed.ReduceOp.MAX)
            self.request.asked = bool(asked)
        if self.request.asked and state.global_step < state.max_steps:
            control.should_log = control.should_save = control.should_training_stop = True
            control.should_evaluate = False
