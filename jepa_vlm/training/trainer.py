"""A ``transformers.Trainer`` that trains an objective: its loop, with the objective's normalisers, logs and files."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import torch
from peft.helpers import disable_input_dtype_casting
from torch import Tensor, nn
from transformers import PrinterCallback, Trainer, TrainerCallback

from jepa_vlm.latent_vlm import LatentVLM
from jepa_vlm.training.callbacks import FiniteLoss, GradientsReach, TargetAverage
from jepa_vlm.training.checkpoint import Origin, load_weights, save_weights
from jepa_vlm.training.ledger import TermLedger
from jepa_vlm.training.metrics import MetricsFile
from jepa_vlm.training.order import Passes
from jepa_vlm.training.settings import TrainSettings
from jepa_vlm.training.validation import Validation
from jepa_vlm.trajectories import Trajectory


@final
class ObjectiveTrainer(Trainer):
    """Trains a ``LatentVLM`` on trajectories.

    Every term is divided by its units in the whole accumulated global batch, so that a step is the same however it is
    split into micro-batches and processes. Files are safetensors, except the optimiser's, the schedule's and the random
    state, which transformers pickles and only resuming reads.

    Args:
        model: What to train; its backbone carries its adapter already.
        settings: Of the loop.
        train: Training trajectories.
        validation: Held-out trajectories; the checkpoint with the lowest loss on them is the best.
        metrics: Where rows go.
        origin: Written into every checkpoint.
        callbacks: Further ones; the checks of the first steps, of finiteness and the target's average are always on.
    """

    loss_is_scaled_for_ga = True

    def __init__(
        self,
        *,
        model: LatentVLM,
        settings: TrainSettings,
        train: Sequence[Trajectory],
        validation: Sequence[Trajectory],
        metrics: Path,
        origin: Origin,
        callbacks: Sequence[TrainerCallback] = (),
    ) -> None:
        self.ledger, self._origin, self._latent_vlm = TermLedger(), origin, model
        args, collator = settings.arguments(), model.collator()
        step_size = settings.batch_size * settings.accumulation * args.world_size
        use_cache = getattr(model.config, "use_cache", None)
        super().__init__(
            model=model,
            args=args,
            data_collator=collator,
            train_dataset=Passes(examples=train, length=settings.steps * step_size, seed=settings.seed),
            eval_dataset=list(validation),
            callbacks=[FiniteLoss(ledger=self.ledger), GradientsReach(), TargetAverage(), *callbacks],
        )
        _restore(model.config, "use_cache", use_cache)  # the Trainer sets it; it would be exported
        self.remove_callback(PrinterCallback)  # it prints to stdout
        self.validation = Validation(
            examples=validation, collator=collator, batch_size=settings.batch_size, workers=settings.workers
        )
        self.metrics = MetricsFile(path=metrics, write=self.is_world_process_zero())
        self._per_pass = step_size / len(train)
        self._logged_at, self._began = 0, time.perf_counter()

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """Train, after a first validation; or go on from a checkpoint, exactly."""
        self._began = time.perf_counter()
        self.args.eval_on_start = resume_from_checkpoint is None
        began_anew = resume_from_checkpoint is None
        self._logged_at = 0 if began_anew else int(str(resume_from_checkpoint).rpartition("-")[2])
        self.metrics.cut_after(-1 if began_anew else self._logged_at)
        # Under autocast PEFT's own casts to float32 and back change no number; they only double what is kept.
        with disable_input_dtype_casting(self._latent_vlm, active=self.args.bf16):
            return super().train(resume_from_checkpoint, *args, **kwargs)

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> tuple[list[Any], Any]:
        """Fetch the micro-batches of one optimiser step, and run their rows without gradient as one.

        Not where the weights are sharded: there they are only whole inside a forward.
        """
        batches, units = super().get_batch_samples(epoch_iterator, num_batches, device)
        if not (self.is_fsdp_enabled or self.is_deepspeed_enabled):
            with self.accelerator.autocast():
                batches = self._latent_vlm.run_ahead(batches)
        return batches, units

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Any:
        """Return each term's normaliser: its units over all micro-batches and processes, over the number of processes.

        DDP averages gradients over processes, so that a sum divided by (units / processes) becomes the global mean.
        """
        if not batch_samples:
            return None
        names = list(batch_samples[0]["counts"])
        units = torch.tensor([float(sum(batch["counts"][name] for batch in batch_samples)) for name in names])
        if self.args.world_size == 1:
            return dict(zip(names, units.clamp(min=1).tolist(), strict=True))  # on the host: a copy would wait
        units = units.to(device)
        torch.distributed.all_reduce(units)
        units = units.clamp(min=1) / self.args.world_size
        return dict(zip(names, units.unbind(), strict=True))

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Return the weighted sum of the terms, and note them."""
        terms = model(inputs, num_items_in_batch)
        self.ledger.add(terms, inputs["ids"])
        return (terms.total, terms) if return_outputs else terms.total

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Validate exactly, and log it."""
        found = self.validation(self._latent_vlm, self.accelerator)
        self.metrics.append({"kind": "validation", **self._place(), **found})
        logs = {f"eval_{name}": term["raw"] for name, term in found["terms"].items()}
        metrics = {"eval_loss": found["loss"], **logs, **_flat(found["monitors"])}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the terms to a training log, and write it down."""
        if "loss" in logs:
            terms = self.ledger.drain(steps=self.state.global_step - self._logged_at)
            self._logged_at = self.state.global_step
            seconds = round(time.perf_counter() - self._began, 3)
            self.metrics.append({"kind": "train", **self._place(), **logs, "seconds": seconds, "terms": terms})
            logs.update({f"terms/{name}": value["raw"] for name, value in terms.items()})
            logs.update({f"weighted/{name}": value["weighted"] for name, value in terms.items()})
        super().log(logs, start_time)

    def _place(self) -> dict[str, float]:
        return {"step": self.state.global_step, "passes": round(self.state.global_step * self._per_pass, 4)}

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        if self.args.should_save:
            save_weights(self._latent_vlm, Path(output_dir or str(self.args.output_dir)), self._origin)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        load_weights(self._latent_vlm, Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        load_weights(self._latent_vlm, Path(str(self.state.best_model_checkpoint)))


def _flat(monitors: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {f"monitors/{term}/{name}": value for term, values in monitors.items() for name, value in values.items()}


def _restore(config: Any, name: str, value: Any) -> None:
    if value is None:
        vars(config).pop(name, None)
    else:
        setattr(config, name, value)
