"""How a run ends in its own time when it receives a signal to stop: the process and the workers of its data loader.

A cluster sends SIGTERM to all processes of a job. The run finishes the step, saves and stops; a worker that died
meanwhile would end it at once, by an error of torch's, whose own handler lets a worker die of any SIGTERM, whoever sent
it. So workers outlive it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from types import FrameType, TracebackType
from typing import Any, Self, final

import torch
from torch.utils.data import get_worker_info
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from jepa_vlm.engine import Batch

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


@final
@dataclass(frozen=True)
class OutlivingSigterm:
    """Makes a batch. From its first batch on, a worker can be ended by SIGTERM only by the process that started it.

    Where the system does not say who sent a signal (macOS, Windows), workers die as before. Picklable.

    Args:
        collate: Function that makes the batch.
    """

    collate: Callable[[Any], Batch]

    def __call__(self, items: Sequence[Any]) -> Batch:
        """Return the batch."""
        if get_worker_info() is not None and hasattr(signal, "sigwaitinfo"):
            _listen_to_parent(os.getpid())
        return self.collate(items)


@cache
def _listen_to_parent(process: int) -> None:
    """Begin to listen, once in each process: a fork inherits what its parent remembers."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # threads that this one starts inherit it
    threading.Thread(target=_leave_when_the_parent_says, daemon=True).start()


def _leave_when_the_parent_says() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
