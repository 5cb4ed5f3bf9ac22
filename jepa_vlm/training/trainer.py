"""A ``transformers.Trainer`` that trains an objective: its loop, with the objective's normalisers, logs and files."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, SequentialSampler
from transformers import PrinterCallback, Trainer, TrainerCallback

from jepa_vlm.adapters.backbone import HALF
from jepa_vlm.adapters.inside_peft import without_input_casts
from jepa_vlm.engine import Batch
from jepa_vlm.latent_vlm import LatentVLM
from jepa_vlm.training.callbacks import FiniteLoss, FreshOptimizer, GradientsReach, TargetAverage
from jepa_vlm.training.checkpoint import Origin, load_weights, save_weights
from jepa_vlm.training.lora import split_by_rate
from jepa_vlm.training.metrics import MetricsFile, SourceLedger, TermLedger
from jepa_vlm.training.order import MicroBatches, Passes, count_tokens, micro_batch_starts
from jepa_vlm.training.signals import OutlivingSigterm
from jepa_vlm.training.term_schedule import TermSchedule, TrainCollator
from jepa_vlm.training.train_settings import TrainSettings
from jepa_vlm.training.validation import Validation
from jepa_vlm.trajectories import Trajectory
from jepa_vlm.trajectories.rows import Mixture


@final
class ObjectiveTrainer(Trainer):
    """Trains a ``LatentVLM`` on trajectories.

    Every term is divided by its denominator in the whole accumulated global batch: a step is the same however it is
    split into micro-batches and processes. Files are safetensors, except the optimiser's, the schedule's and the random
    state, which transformers pickles and only resuming reads.

    Args:
        model: The model; its backbone carries its adapter already.
        settings: Settings of the loop.
        train: Training trajectories.
        validation: Held-out trajectories; the checkpoint with the lowest loss on them is the best.
        metrics: The file metrics.jsonl.
        origin: Record that is written into every checkpoint.
        tokens: Number of tokens of each training trajectory, for ``settings.batch_tokens``; counted if not given.
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
        tokens: Sequence[int] | None = None,
        callbacks: Sequence[TrainerCallback] = (),
    ) -> None:
        self.ledger, self._origin, self._latent_vlm = TermLedger(), origin, model
        names = [source.name for source in train.sources] if isinstance(train, Mixture) else []
        self.source_ledger = SourceLedger(sources=names, weights=model.objective.weights)
        self._rates = settings.rates
        args, collator = settings.arguments(), model.collator()
        schedule = TermSchedule.of(model.objective, stages=settings.stages, steps=settings.steps, seed=settings.seed)
        if settings.batch_tokens is not None and tokens is None:
            tokens = count_tokens(collator, train, workers=settings.workers)
        self._order = _order(settings, train, tokens, processes=args.world_size)
        use_cache = getattr(model.config, "use_cache", None)
        super().__init__(
            model=model,
            args=args,
            data_collator=OutlivingSigterm(TrainCollator(collator, schedule)),  # type: ignore[arg-type]
            train_dataset=self._order,
            eval_dataset=validation,
            callbacks=[
                FiniteLoss(ledger=self.ledger),
                FreshOptimizer(begins_anew=schedule.begins_anew),
                GradientsReach(dropped=schedule.dropout.skipped, outside=schedule.outside),
                TargetAverage(),
                *callbacks,
            ],
        )
        _restore(model.config, "use_cache", use_cache)  # the Trainer sets it; it would be exported
        self.remove_callback(PrinterCallback)  # it prints to stdout
        self.validation = Validation(
            examples=validation,
            collator=collator,
            batch_size=max(2, settings.batch_size),  # terms compare examples; without gradient two fit where one trains
            workers=settings.workers,
            judged=schedule.last,
        )
        self.metrics = MetricsFile(path=metrics, write=self.is_world_process_zero())
        self._logged_at, self._began = 0, time.perf_counter()

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """Train, after a first validation; or go on from a checkpoint, exactly."""
        self.args.eval_on_start = resume_from_checkpoint is None
        began_anew = resume_from_checkpoint is None
        self._logged_at = 0 if began_anew else int(str(resume_from_checkpoint).rpartition("-")[2])
        self.metrics.cut_after(-1 if began_anew else self._logged_at)
        self._began = time.perf_counter() - self.metrics.seconds()
        with without_input_casts(self._latent_vlm, active=self._latent_vlm.backbone.dtype in HALF):
            return super().train(resume_from_checkpoint, *args, **kwargs)

    @property
    def seconds(self) -> float:
        """Wall time of training so far, that before a resumption included, up to the last row before it."""
        return round(time.perf_counter() - self._began, 3)

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> tuple[list[Any], Any]:
        """Fetch the micro-batches of one optimiser step, and run their rows without gradient as one.

        Not where the weights are sharded: there they are only whole inside a forward.
        """
        batches, units = super().get_batch_samples(epoch_iterator, num_batches, device)
        if not (self.is_fsdp_enabled or self.is_deepspeed_enabled):
            batches = self._latent_vlm.run_ahead(batches)
        return batches, units

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the loader of the run's micro-batches, each of which is one item of the data set."""
        loader: DataLoader[Any] = self._get_dataloader(
            dataset=self._order,
            description="Training",
            batch_size=1,
            sampler_fn=SequentialSampler,  # type: ignore[arg-type]
            is_training=True,
        )
        return loader

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Any:
        """Return each term's denominator over all micro-batches and processes, divided by the number of processes.

        DDP averages gradients over processes, so that a sum divided by (denominator / processes) is the global mean.
        """
        if not batch_samples:
            return None
        names = list(batch_samples[0].counts)
        units = torch.tensor([float(sum(batch.counts[name] for batch in batch_samples)) for name in names])
        if self.args.world_size == 1:
            return dict(zip(names, units.clamp(min=1).tolist(), strict=True))  # on the host: a copy would wait
        units = units.to(device)
        torch.distributed.all_reduce(units)
        units = units.clamp(min=1) / self.args.world_size
        return dict(zip(names, units.unbind(), strict=True))

    def floating_point_ops(self, inputs: Any) -> int:
        """Return 0: transformers' estimate knows one text a row; ``jepa_vlm.cost`` counts what a step costs."""
        return 0

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        """Return the optimiser, its groups split by the parts' rates."""
        optimizer = super().create_optimizer(*args, **kwargs)
        split_by_rate(optimizer, self._latent_vlm, self._rates)
        return optimizer

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """Return the matrices that decay: no bias, no norm, and no vector or number of any other kind."""
        matrices = {name for name, parameter in model.named_parameters() if parameter.ndim > 1}
        return [name for name in super().get_decay_parameter_names(model) if name in matrices]

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Batch,  # type: ignore[override]
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Return the weighted sum of the terms, and note them."""
        terms = model(inputs, num_items_in_batch)
        self.ledger.add(terms, inputs.ids)
        if inputs.sources is not None:
            self.source_ledger.add(terms, inputs.sources.denominators)
        return (terms.total, terms) if return_outputs else terms.total

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Validate exactly, and log it."""
        found = self.validation(self._latent_vlm, self.accelerator)
        self.metrics.append({"kind": "validation", **self._place(), **found})
        logs = {f"eval_{name}": term["raw"] for name, term in found["terms"].items()}
        metrics = {"eval_loss": found["loss"], **logs, **_flat(found["monitors"], "monitors")}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the terms to a training log, and write it down."""
        if "loss" in logs:
            terms = self.ledger.drain(steps=self.state.global_step - self._logged_at)
            self._logged_at = self.state.global_step
            row = {"kind": "train", **self._place(), **logs, "seconds": self.seconds, "terms": terms}
            sources = self.source_ledger.drain()
            self.metrics.append({**row, "sources": sources} if sources else row)
            logs.update({f"terms/{name}": value["raw"] for name, value in terms.items()})
            logs.update({f"weighted/{name}": value["weighted"] for name, value in terms.items()})
            logs.update(_flat({name: value.get("parts", {}) for name, value in terms.items()}, "parts"))
        super().log(logs, start_time)

    def _place(self) -> dict[str, float]:
        step = self.state.global_step
        return {"step": step, "passes": round(self._order.passes_until(step), 4)}

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        if self.args.should_save:
            save_weights(self._latent_vlm, Path(output_dir or str(self.args.output_dir)), self._origin)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        load_weights(self._latent_vlm, Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        load_weights(self._latent_vlm, Path(str(self.state.best_model_checkpoint)))


def _order(
    settings: TrainSettings, train: Sequence[Trajectory], tokens: Sequence[int] | None, *, processes: int
) -> MicroBatches:
    passes, per_step = Passes(examples=train, seed=settings.seed), settings.accumulation * processes
    starts = micro_batch_starts(
        passes,
        micro_batches=settings.steps * per_step,
        batch_size=settings.batch_size,
        tokens=tokens,
        budget=settings.batch_tokens,
    )
    return MicroBatches(examples=train, passes=passes, starts=starts, per_step=per_step)


def _flat(values: Mapping[str, Mapping[str, float]], kind: str) -> dict[str, float]:
    return {f"{kind}/{term}/{name}": value for term, own in values.items() for name, value in own.items()}


def _restore(config: Any, name: str, value: Any) -> None:
    if value is None:
        vars(config).pop(name, None)
    else:
        setattr(config, name, value)
