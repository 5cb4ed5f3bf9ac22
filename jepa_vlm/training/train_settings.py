"""Settings of the training loop, and the arguments of transformers that they make."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import torch
from transformers import TrainingArguments

from jepa_vlm.recipe import Stage

DAY = 24 * 3600


@final
@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """The loop's settings; see ``Recipe`` for the optimiser's.

    Args:
        folder: Folder of the checkpoints.
        steps, batch_size, accumulation, learning_rate, warmup, weight_decay, schedule, max_grad_norm: As in ``Recipe``.
        batch_tokens: Most tokens of a training micro-batch, in place of ``batch_size``, which then serves validation.
        seed: Random seed for the order of examples, dropout and loss dropout.
        workers: Processes that load data.
        log_every: Steps between two rows of training metrics.
        validate_every: Steps between two validations; each saves a checkpoint.
        rates: Multiples of the learning rate by part, as in ``Recipe``.
        stages: As in ``Recipe``.
        report_to: Trackers of transformers ("tensorboard", "wandb", ...).
    """

    folder: Path
    steps: int
    batch_size: int
    batch_tokens: int | None = None
    accumulation: int = 1
    learning_rate: float = 1e-5
    warmup: float | int = 0.05
    weight_decay: float = 0.1
    schedule: str = "cosine"
    max_grad_norm: float = 1.0
    seed: int = 0
    workers: int = 0
    log_every: int = 10
    validate_every: int = 100
    report_to: tuple[str, ...] = ()
    rates: Mapping[str, float] = field(default_factory=dict)
    stages: tuple[Stage, ...] = ()

    @property
    def warmup_steps(self) -> int:
        """Steps of the warm-up: a share is rounded up. At least one step of the run is left, since the first of a
        warm-up has the rate 0.
        """
        wanted = self.warmup if isinstance(self.warmup, int) else math.ceil(self.warmup * self.steps)
        return min(wanted, self.steps - 1)

    def arguments(self) -> TrainingArguments:
        """Return the arguments of a ``transformers.Trainer``. Starts the process group under torchrun."""
        arguments = TrainingArguments(
            output_dir=str(self.folder),
            max_steps=self.steps,
            per_device_train_batch_size=self.batch_size,
            per_device_eval_batch_size=self.batch_size,
            gradient_accumulation_steps=self.accumulation,
            learning_rate=self.learning_rate,
            warmup_steps=self.warmup_steps,
            weight_decay=self.weight_decay,
            lr_scheduler_type=self.schedule,
            max_grad_norm=self.max_grad_norm,
            optim="adamw_torch",
            seed=self.seed,
            use_cpu=not torch.cuda.is_available(),
            dataloader_num_workers=self.workers,
            dataloader_pin_memory=torch.cuda.is_available(),
            accelerator_config={"non_blocking": torch.cuda.is_available()},  # no step waits for the next one's batches
            remove_unused_columns=False,
            ddp_find_unused_parameters=False,
            ddp_timeout=DAY,  # one process evaluates while the others wait
            logging_steps=self.log_every,
            logging_first_step=True,
            logging_nan_inf_filter=False,
            eval_strategy="steps",
            eval_steps=self.validate_every,
            save_strategy="steps",
            save_steps=self.validate_every,
            save_total_limit=2,
            load_best_model_at_end=True,
            metric_for_best_model="eval_loss",
            greater_is_better=False,
            report_to=list(self.report_to) or "none",
            disable_tqdm=True,
            log_level="error",
        )
        # One device per process: with several in sight, transformers would wrap the model in DataParallel.
        arguments._n_gpu = min(arguments.n_gpu, 1)
        return arguments
