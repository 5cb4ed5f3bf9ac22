"""Workers of a data loader outlive a SIGTERM that a cluster sends to all processes of a job.

The run stops in its own time: it finishes the step and saves. A worker that died meanwhile would end it at once, by an
error of torch's, whose own handler lets a worker die of any SIGTERM, whoever sent it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, final

from torch.utils.data import get_worker_info

from jepa_vlm.engine import Batch


@final
@dataclass(frozen=True)
class OutlivingSigterm:
    """Makes a batch; in a worker, from the first batch on, only the process that started it can end it by SIGTERM.

    Where the system does not tell who sent a signal (macOS, Windows), workers die as before. Picklable.

    Args:
        collate: Makes the batch.
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
