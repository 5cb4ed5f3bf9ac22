"""The arguments that the settings of a run give to transformers."""

from __future__ import annotations

import math

import pytest
from transformers import TrainerCallback, TrainingArguments

import jepa_vlm as jv
from jepa_vlm.training import TrainSettings
from tests.training.setting import small_model, small_trainer


def test_one_process_takes_one_device(tmp_path, monkeypatch):
    stock = TrainingArguments.__post_init__

    def sees_four(self):
        stock(self)
        self._n_gpu = 4

    monkeypatch.setattr(TrainingArguments, "__post_init__", sees_four)
    arguments = TrainSettings(folder=tmp_path, steps=1, batch_size=2).arguments()
    assert arguments.n_gpu == 1
    assert arguments.train_batch_size == 2


def test_every_setting_reaches_transformers(tmp_path):
    given = {
        "steps": 7,
        "accumulation": 3,
        "learning_rate": 0.5,
        "warmup": 0.25,
        "weight_decay": 0.125,
        "schedule": "linear",
        "max_grad_norm": 2.0,
        "seed": 5,
        "workers": 1,
        "log_every": 4,
        "validate_every": 6,
    }
    arguments = TrainSettings(folder=tmp_path, batch_size=2, **given).arguments()
    expected = {
        "output_dir": str(tmp_path),
        "per_device_train_batch_size": 2,
        "max_steps": 7,
        "gradient_accumulation_steps": 3,
        "learning_rate": 0.5,
        "warmup_steps": 2,
        "weight_decay": 0.125,
        "lr_scheduler_type": "linear",
        "max_grad_norm": 2.0,
        "seed": 5,
        "dataloader_num_workers": 1,
        "logging_steps": 4,
        "eval_steps": 6,
        "save_steps": 6,
        "bf16": False,  # the model computes in its backbone's precision by itself
        "fp16": False,
    }
    assert {name: getattr(arguments, name) for name in expected} == expected


def test_the_learning_rate_warms_up_and_falls_to_zero(tmp_path):
    rates = []

    class Watch(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, optimizer=None, **kwargs):
            rates.append(optimizer.param_groups[0]["lr"])

    objective = jv.NextToken()
    settings = {"steps": 8, "batch_size": 1, "warmup": 0.25, "learning_rate": 1e-3, "validate_every": 8}
    trainer = small_trainer(small_model(objective=objective), tmp_path, callbacks=[Watch()], **settings)
    trainer.train()
    expected = [0.0, 0.5] + [(1 + math.cos(math.pi * step / 6)) / 2 for step in range(6)]
    assert rates == pytest.approx([1e-3 * rate for rate in expected], rel=1e-6)


@pytest.mark.parametrize(
    ("warmup", "steps", "expected"), [(0.05, 1, 0), (0.05, 2, 1), (0, 9, 0), (0.99, 3, 2), (10, 100, 10), (10, 6, 5)]
)
def test_a_warm_up_never_takes_the_whole_run(tmp_path, warmup, steps, expected):
    assert TrainSettings(folder=tmp_path, steps=steps, batch_size=1, warmup=warmup).warmup_steps == expected
