"""What watches a run while it trains: checks of loss and gradients, the average of target weights, the progress bar."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, final

import torch
from rich import progress
from rich.console import Console
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from jepa_vlm.adapters.backbone import HALF
from jepa_vlm.adapters.inside_peft import belongs_to_adapter
from jepa_vlm.errors import RunError
from jepa_vlm.training.metrics import TermLedger


@final
class FiniteLoss(TrainerCallback):
    """Checks every step's terms and gradients just before the optimiser uses them; waits for the device once.

    Args:
        ledger: Ledger in which the trainer notes the terms.
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


@final
@dataclass
class FreshOptimizer(TrainerCallback):
    """Empties the optimiser's state before the first step of such a stage: AdamW then counts its steps from 1 again.

    Args:
        begins_anew: Function that says whether a step, counted from 0, begins such a stage.
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


@final
class TargetAverage(TrainerCallback):
    """Calls the model's ``after_optimizer_step``, which moves the average of an ``ema`` policy if there is one."""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        """Update the average."""
        model.after_optimizer_step()


UPDATES = 2  # LoRA's A has no gradient while B is zero, so one update is not enough


@final
class GradientsReach(TrainerCallback):
    """Every trainable tensor must receive a gradient that is not zero, and move, by the second update.

    The adapter's tensors and the objective's own must be trainable; what a term only reads belongs into buffers.
    Weight decay moves tensors that have no gradient, so both are checked. An update counts if its learning rate is
    above zero (warm-up starts at zero) and no term was left out by loss dropout. Where the learning rates so far are
    too small to change a tensor at its precision, its movement is judged as soon as they are not. Each stage of a
    recipe is checked anew, without the parameters of terms that are not of it.

    Args:
        dropped: Returns the terms that a step leaves out by loss dropout.
        outside: Returns the terms that are not of a step's stage; none if it is not given.
    """

    def __init__(
        self,
        *,
        dropped: Callable[[int], Collection[str]],
        outside: Callable[[int], Collection[str]] = lambda step: (),
    ) -> None:
        self._dropped, self._outside, self.updates = dropped, outside, 0
        self._waiting: frozenset[str] = frozenset()
        self._rates: dict[str, float] = {}
        self._before: dict[str, Tensor] = {}
        self._unreached: set[str] = set()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        """Remember where every tensor starts.

        Raises:
            RunError: If a tensor of the adapter or the objective is frozen, or a trainable one is in half precision.
        """
        if narrow := [n for n, p in model.named_parameters() if p.requires_grad and p.dtype in HALF]:
            raise RunError(
                f"{len(narrow)} trainable tensors are in half precision, where small updates are rounded away: "
                f"{', '.join(narrow[:3])}. Let apply_lora say what trains; it makes that float32."
            )
        own = [(n, p) for n, p in model.named_parameters() if belongs_to_adapter(n) or n.startswith("objective.")]
        if frozen := [name for name, p in own if not p.requires_grad]:
            raise RunError(
                f"{len(frozen)} tensors of the adapter and the objective are frozen: {', '.join(frozen[:3])}. They are "
                "there to be trained; turn the adapter on, or hold what a term only reads in a buffer."
            )
        self._begin(model, frozenset(self._outside(state.global_step)))

    def on_pre_optimizer_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: Any = None,
        optimizer: Any = None,
        **kwargs: Any,
    ) -> None:
        """Note which tensors have a gradient.

        Raises:
            RunError: If a tensor has had none by the second update.
        """
        if (waiting := frozenset(self._outside(state.global_step))) != self._waiting:
            self.updates, self._rates = 0, {}
            self._begin(model, waiting)
        if not self._before or self._dropped(state.global_step):
            return
        if not (highest := max(group["lr"] for group in optimizer.param_groups)):
            return
        self.updates += 1
        own = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
        for name, p in model.named_parameters():
            if name in self._before:
                self._rates[name] = self._rates.get(name, 0.0) + own.get(id(p), highest)
        if self._unreached:
            gradients = {name: p.grad for name, p in model.named_parameters() if name in self._unreached}
            self._unreached = {name for name, grad in gradients.items() if grad is None or not bool(grad.any())}
        if self.updates == UPDATES and self._unreached:
            raise RunError(_message("received no gradient", sorted(self._unreached), self.updates))

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        """Check that tensors have moved.

        Raises:
            RunError: If one could have moved by now and has not.
        """
        if not self._before or self.updates < UPDATES:
            return
        here = dict(model.named_parameters())
        still = {name: old for name, old in self._before.items() if torch.equal(here[name].detach().cpu(), old)}
        stuck = sorted(name for name, old in still.items() if self._rates[name] > _smallest_step(old))
        if stuck:
            raise RunError(_message(f"have not moved ({here[stuck[0]].dtype})", stuck, self.updates))
        self._before = still

    def _begin(self, model: Any, waiting: frozenset[str]) -> None:
        """Check from here on all that trains, but for the parameters of terms that wait for their stage."""
        idle = tuple(f"objective.terms.{term}." for term in waiting)
        self._waiting = waiting
        self._before = {
            name: p.detach().cpu().clone()
            for name, p in model.named_parameters()
            if p.requires_grad and not name.startswith(idle)
        }
        self._unreached = set(self._before)


def _smallest_step(tensor: Tensor) -> float:
    """Return a sum of learning rates that changes the largest entry, Adam's step being about one rate."""
    return 4 * torch.finfo(tensor.dtype).eps * float(tensor.abs().max())


def _message(what: str, names: list[str], updates: int) -> str:
    return (
        f"{len(names)} trainable tensors {what} by update {updates}: {', '.join(names[:3])}. Something that should "
        "train does not: a detached term, a frozen part, or a precision in which updates vanish."
    )


@final
class Progress(TrainerCallback):
    """Draws a bar in a terminal; elsewhere writes a line per log. Only the first process talks.

    Args:
        console: Console on which it is drawn.
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
