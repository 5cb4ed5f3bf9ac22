"""Stops a run before an update that is not finite reaches the weights."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from jepa_vlm.errors import RunError
from jepa_vlm.training.ledger import TermLedger


@final
class FiniteLoss(TrainerCallback):
    """Checks every step's terms and gradients just before the optimiser uses them; waits for the device once.

    Args:
        ledger: Where the trainer notes the terms.
    """

    def __init__(self, *, ledger: TermLedger) -> None:
        self.ledger = ledger

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        """Raise if a term or a gradient is not finite.

        Raises:
            RunError: Naming the term and the examples, or the tensors.
        """
        total = self.ledger.step_total()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients) if gradients else torch.zeros(())
        if bool(torch.isfinite(norm if total is None else norm + total)):
            self.ledger.close_step()
            return
        kept = "Nothing was updated in this step; the checkpoints saved before it are good."
        for term, ids in self.ledger.broken():
            raise RunError(
                f"Loss term {term!r} is not finite at step {state.global_step + 1}, on {', '.join(ids)}. {kept} "
                "Look at these examples (jepa-vlm data show), or lower the learning rate."
            )
        names = [
            n for n, p in model.named_parameters() if p.grad is not None and not bool(torch.isfinite(p.grad).all())
        ]
        shown = f"of {', '.join(names[:3])}" if len(names) < len(gradients) else "of any tensor, once clipped together"
        raise RunError(
            f"The loss is finite at step {state.global_step + 1}, but gradients are not, {shown}. {kept} "
            "Lower the learning rate, or use float32."
        )
